/** One simulated device: it measures by its clock, sends, says that it is alive, and does what the server asks. */
import { configure, type Effects, execute } from './commands.ts'
import { clockError, commandFault, type FaultRates, readingFaults } from './faults.ts'
import type { FleetClock } from './fleet-clock.ts'
import { backoffMs, SimulationError } from './http-client.ts'
import { Journal } from './journal.ts'
import { Outbox } from './outbox.ts'
import type { Profile } from './profiles.ts'
import type { DeviceType, Place, State, Values } from './signals/device-type.ts'
import { seedOf, uniform } from './signals/random.ts'
import type { Statistics } from './statistics.ts'
import type { Cancel, TimerQueue } from './timer-queue.ts'
import type { CommandMessage, Identity, Protocol, Uplink, UplinkEvents } from './uplink.ts'

/** `connecting` and `offline` devices measure and keep their readings, `broken` ones by what is broken. */
export type DeviceStatus = 'connecting' | 'online' | 'offline' | 'broken' | 'stopped'

/** What may break: the sensor repeats its last values, the connection is gone, the device does nothing at all. */
export const breakages = ['sensor', 'connection', 'power'] as const
export type Breakage = (typeof breakages)[number]

/** What the devices of one run share. */
export interface RunContext {
  /** Written into each reading. */
  readonly run: string
  readonly profile: Profile
  readonly rates: FaultRates
  readonly timers: TimerQueue
  readonly statistics: Statistics
  readonly clock: FleetClock
  openUplink(protocol: Protocol, device: Identity, events: UplinkEvents): Uplink
}

export interface DeviceOptions {
  readonly identity: Identity
  readonly type: DeviceType
  readonly place: Place
  readonly protocol: Protocol
}

/** Commands whose ids a device remembers, so that it runs none twice. */
const rememberedCommands = 64
/** A restart takes this long, ms. */
const rebootMs = 2000

/** A device over HTTP gets its configuration with its first heartbeat, at most this many ms after its start. */
const latestHttpHeartbeatMs = 20_000

const phaseStream = seedOf('phase')

export class SimulatedDevice {
  readonly identity: Identity
  readonly type: DeviceType
  readonly protocol: Protocol
  readonly journal = new Journal()
  readonly clockErrorMs: number
  readonly #context: RunContext
  readonly #place: Place
  readonly #outbox: Outbox
  readonly #cancels = new Map<'reading' | 'heartbeat' | 'return', Cancel>()
  readonly #commands: CommandMessage['command_id'][] = []
  #uplink: Uplink | undefined
  #connected = false
  #finished = false
  #ended = false
  #broken: Breakage | undefined
  #away = false
  #state: State
  #values: Values = {}
  #intervalMs: number
  #heartbeatMs: number
  #dueMs = 0
  #readings = 0
  /** Commands received so far. */
  #received = 0
  #lastAt = 0

  constructor({ identity, type, place, protocol }: DeviceOptions, context: RunContext) {
    this.identity = identity
    this.type = type
    this.protocol = protocol
    this.#context = context
    this.#place = place
    this.#intervalMs = 1000 * context.profile.intervalS
    this.#heartbeatMs = 1000 * context.profile.heartbeatS
    const now = context.clock.at(context.timers.now())
    this.clockErrorMs = clockError(context.rates, place.seed, now)
    if (this.clockErrorMs !== 0) context.statistics.inject('wrong clock')
    this.#state = type.start(place, now)
    this.#outbox = new Outbox({
      seed: place.seed,
      rates: context.rates,
      run: context.run,
      clockErrorMs: this.clockErrorMs,
      gathered: context.profile.gathered,
      journal: this.journal,
      timers: context.timers,
      statistics: context.statistics,
    })
  }

  get status(): DeviceStatus {
    if (this.#ended) return 'stopped'
    if (this.#broken !== undefined) return 'broken'
    if (this.#away) return 'offline'
    return this.#connected ? 'online' : 'connecting'
  }

  get broken(): Breakage | undefined {
    return this.#broken
  }

  /** Readings that are not acknowledged yet. */
  get waiting(): number {
    return this.#outbox.size
  }

  /** The last measured values. */
  get values(): Values {
    return this.#values
  }

  /** @throws {SimulationError} when nothing answers or the device is refused. */
  async connect(): Promise<void> {
    const uplink = this.#context.openUplink(this.protocol, this.identity, {
      onCommand: (command) => this.#obey(command),
      onConfiguration: (version, values) => {
        this.#context.statistics.configurations++
        this.#apply(configure(this.type, this.#state, values))
        this.#uplink?.reportConfiguration(version)
      },
      onConnected: (connected) => {
        this.#connected = connected
      },
      onRetry: (reason) => this.#context.statistics.retry(reason),
    })
    // Configuration and commands may come with the connection, before it is reported as open.
    this.#uplink = uplink
    await uplink.connect()
    if (this.#uplink === uplink) this.#outbox.use(uplink)
  }

  /** @param firstMs when the fleet starts; the devices begin at different times of the first interval. */
  start(firstMs: number): void {
    this.#dueMs = firstMs + Math.floor(uniform(this.#place.seed, phaseStream) * this.#intervalMs)
    this.#schedule()
    const latestMs = this.protocol === 'http' ? latestHttpHeartbeatMs : this.#heartbeatMs
    this.#scheduleHeartbeat(uniform(this.#place.seed, phaseStream, 1) * Math.min(latestMs, this.#heartbeatMs))
  }

  /** Measures nothing more, and sends what it has. */
  finish(): void {
    this.#finished = true
    for (const cancel of this.#cancels.values()) cancel()
    if (this.#away) this.#comeBack()
    this.#outbox.flush()
  }

  /** Ends the device. @param goodbye false: its connection breaks. */
  async close(goodbye = true): Promise<void> {
    this.#ended = true
    for (const cancel of this.#cancels.values()) cancel()
    this.#uplink?.giveUp()
    this.#outbox.end()
    await this.#uplink?.close(goodbye)
    this.#uplink = undefined
  }

  break(what: Breakage): void {
    if (this.#ended) return
    this.#broken = what
    if (what !== 'sensor') void this.#leave(false)
  }

  repair(): void {
    const was = this.#broken
    this.#broken = undefined
    if (was !== undefined && was !== 'sensor' && !this.#ended) this.#comeBack()
  }

  #schedule(): void {
    this.#cancels.set(
      'reading',
      this.#context.timers.at(this.#dueMs, () => {
        this.#read(this.#context.clock.at(this.#dueMs))
        // A simulator that is late leaves readings out, as a device that was asleep.
        const behind = Math.max(0, this.#context.timers.now() - this.#dueMs)
        this.#dueMs += this.#intervalMs * (1 + Math.floor(behind / this.#intervalMs))
        this.#schedule()
      }),
    )
  }

  #scheduleHeartbeat(afterMs = this.#heartbeatMs): void {
    const { timers, statistics } = this.#context
    this.#cancels.set(
      'heartbeat',
      timers.at(timers.now() + afterMs, () => {
        if (this.#connected && this.status === 'online') {
          statistics.heartbeats++
          this.#uplink?.heartbeat()
        }
        this.#scheduleHeartbeat()
      }),
    )
  }

  /** @param dueAt by the clock of the device; two readings never have the same time. */
  #read(dueAt: number): void {
    if (this.#broken === 'power') return
    const at = Math.max(dueAt, this.#lastAt + 1)
    this.#lastAt = at
    const { rates, statistics } = this.#context
    const faults = readingFaults(rates, this.#place.seed, this.#readings++)
    if (this.#broken !== 'sensor' || this.#readings === 1) {
      const { values, state } = this.type.measure(this.#place, at, this.#state)
      this.#values = values
      this.#state = state
    }
    this.#outbox.add(this.journal.add(at, this.#values), faults.heldBack)
    if (faults.offlineMs > 0 && !this.#away && this.#broken === undefined) {
      statistics.inject('offline')
      this.#goAway(faults.offlineMs, true)
    }
  }

  #goAway(ms: number, goodbye: boolean): void {
    this.#away = true
    void this.#leave(goodbye)
    const { timers } = this.#context
    this.#cancels.set(
      'return',
      timers.at(timers.now() + ms, () => this.#comeBack()),
    )
  }

  async #leave(goodbye: boolean): Promise<void> {
    const uplink = this.#uplink
    this.#outbox.use(undefined)
    this.#uplink = undefined
    this.#connected = false
    await uplink?.close(goodbye).catch(() => undefined)
  }

  #comeBack(): void {
    this.#away = false
    if (this.#uplink !== undefined || (this.#broken !== undefined && this.#broken !== 'sensor')) return
    const again = (attempt: number) => {
      if (this.#ended || this.#away) return
      this.connect().catch(async (error: unknown) => {
        if (!(error instanceof SimulationError)) throw error
        await this.#context.timers.pause(backoffMs(attempt))
        if (!this.#connected) again(attempt + 1)
      })
    }
    again(0)
  }

  #obey({ command_id: id, command, params }: CommandMessage): void {
    if (this.#broken === 'power' || this.#commands.includes(id)) return
    this.#commands.push(id)
    if (this.#commands.length > rememberedCommands) this.#commands.shift()
    const { rates, statistics } = this.#context
    statistics.commands++
    const fault = commandFault(rates, this.#place.seed, this.#received++)
    if (fault === 'silent') {
      statistics.inject('command not answered')
      return
    }
    void this.#uplink?.answerCommand(id, { status: 'acknowledged' })
    const execution = execute(this.type, this.#state, command, params)
    const answer = { status: execution.succeeded ? 'succeeded' : 'failed', result: execution.result } as const
    void this.#uplink?.answerCommand(id, answer)
    if (fault === 'answers twice') {
      statistics.inject('command answered twice')
      void this.#uplink?.answerCommand(id, answer)
    }
    if (execution.succeeded) this.#apply(execution.effects)
  }

  #setInterval(ms: number): void {
    const change = ms - this.#intervalMs
    this.#intervalMs = ms
    // A device that has not started gets its times from the start.
    if (this.#dueMs === 0 || this.#finished) return
    this.#cancels.get('reading')?.()
    this.#dueMs = Math.max(this.#dueMs + change, this.#context.timers.now())
    this.#schedule()
  }

  #apply({ state, intervalS, heartbeatS, readsNow, reboots }: Effects): void {
    this.#state = state
    if (heartbeatS !== undefined) this.#heartbeatMs = 1000 * heartbeatS
    if (intervalS !== undefined) this.#setInterval(1000 * intervalS)
    if (readsNow && !this.#finished) this.#read(this.#context.clock.at(this.#context.timers.now()))
    if (reboots && !this.#finished) this.#goAway(rebootMs, false)
  }
}
