/**
 * A fleet of simulated devices: they register, send, and go. Afterwards every acknowledged reading is read back and compared. A
 * reading without an acknowledgement may be stored or not.
 */
import { randomBytes } from 'node:crypto'
import { findBroker } from './broker.ts'
import { type RunContext, SimulatedDevice } from './device.ts'
import { Enrolment, inParallel, type NewDevice } from './enrolment.ts'
import { type FaultRates, noFaults } from './faults.ts'
import { FleetClock } from './fleet-clock.ts'
import { HttpClient, SimulationError } from './http-client.ts'
import { HttpUplink } from './http-uplink.ts'
import { KeyFile } from './key-file.ts'
import { type BrokerOptions, MqttUplink } from './mqtt-uplink.ts'
import { ProcessMeter } from './process-usage.ts'
import { type Profile, profiles } from './profiles.ts'
import type { DeviceType } from './signals/device-type.ts'
import { hashOf, seedOf } from './signals/random.ts'
import { locationOf, type Site, type SiteKind } from './signals/site.ts'
import { Statistics } from './statistics.ts'
import { type Summary, summarize } from './summary.ts'
import { TimerQueue } from './timer-queue.ts'
import type { Identity, Protocol, Uplink, UplinkEvents } from './uplink.ts'

export interface FleetOptions {
  /** Base URL of the server, without a slash at its end. */
  readonly url: string
  /** Undefined: as the server says. */
  readonly mqttUrl?: string | undefined
  readonly mqttVersion?: '3.1.1' | '5' | 'mixed' | undefined
  /** `mixed`: every other device over MQTT. */
  readonly protocol: Protocol | 'mixed'
  /** The type of each device. */
  readonly types: readonly DeviceType[]
  /** How long they send, seconds; infinite: until `signal` is aborted. */
  readonly durationS: number
  readonly profile?: Profile | undefined
  readonly rates?: FaultRates | undefined
  readonly site?: SiteKind | undefined
  /** First part of each name. */
  readonly name?: string | undefined
  /** The same seed and the same start give the same readings and the same faults. */
  readonly seed?: number | undefined
  /** Time of the clocks of the devices when they begin to send, ms since the epoch; undefined: now. */
  readonly startAt?: number | undefined
  readonly enrollmentKey?: string | undefined
  readonly adminToken?: string | undefined
  /** Undefined: keys are not kept. */
  readonly keyFile?: string | undefined
  /** A process of this computer whose CPU and memory are reported too. */
  readonly serverPid?: number | undefined
  /** When aborted, no more readings are sent; readings sent before are still checked. */
  readonly signal?: AbortSignal | undefined
  /** ms that unacknowledged readings still have when the sending ends. */
  readonly drainMs?: number | undefined
  /** ms that an acknowledged reading may take to become readable. */
  readonly settleMs?: number | undefined
  /** Readings per page when reading back. */
  readonly pageSize?: number | undefined
}

export type Phase = 'registering' | 'connecting' | 'sending' | 'delivering' | 'reading back' | 'done'

const defaultDrainMs = 30_000
const drainLookMs = 50

export class Fleet {
  readonly options: FleetOptions
  readonly run = randomBytes(3).toString('hex')
  readonly statistics = new Statistics()
  readonly devices: SimulatedDevice[] = []
  phase: Phase = 'registering'
  /** `performance.now()` at which the phase began. */
  phaseSince = performance.now()
  /** Devices that are ready in this phase, of `expected`. */
  ready = 0
  expected: number
  readonly #timers = new TimerQueue()
  readonly #client = new HttpClient(this.#timers)
  readonly #site: Site
  readonly #enrolment: Enrolment
  readonly #stop = new AbortController()
  readonly #stopped = new Promise<void>((resolve) =>
    this.#stop.signal.addEventListener('abort', () => resolve(), { once: true }),
  )
  readonly #numbers = new Map<string, number>()
  readonly #own = new ProcessMeter()
  readonly #server: ProcessMeter | undefined
  readonly #clock: FleetClock
  readonly #context: RunContext
  #broker: Omit<BrokerOptions, 'version'> | undefined

  /** @throws {SimulationError} when the process to watch does not exist. */
  constructor(options: FleetOptions) {
    this.options = options
    const kind = options.site ?? 'home'
    this.#site = { kind, seed: hashOf(options.seed ?? 1, seedOf(kind)) }
    this.expected = options.types.length
    this.#clock = new FleetClock(options.startAt)
    this.#context = {
      run: this.run,
      profile: options.profile ?? profiles.default,
      rates: options.rates ?? noFaults,
      timers: this.#timers,
      statistics: this.statistics,
      clock: this.#clock,
      openUplink: (protocol, device, events) => this.#openUplink(protocol, device, events),
    }
    const { url, enrollmentKey, adminToken, keyFile, serverPid } = options
    this.#server = serverPid === undefined ? undefined : new ProcessMeter(serverPid)
    this.#enrolment = new Enrolment({
      url,
      client: this.#client,
      keyFile: keyFile === undefined ? undefined : new KeyFile(keyFile, url),
      enrollmentKey,
      adminToken,
      over: () => this.#stop.signal.aborted,
      onEnrolled: () => {
        this.ready++
      },
    })
  }

  /**
   * Runs the fleet to its end.
   * @throws {SimulationError} when the server cannot be reached, refuses a device, or cannot be read back.
   */
  async simulate(): Promise<Summary> {
    const { signal, durationS } = this.options
    const end = () => this.stop()
    if (signal?.aborted) end()
    signal?.addEventListener('abort', end)
    try {
      await this.#begin()
      const since = this.phaseSince
      if (Number.isFinite(durationS)) this.#timers.at(since + 1000 * durationS, end)
      await this.#stopped
      const seconds = Math.max(0, (performance.now() - since) / 1000)
      const usage = { simulator: this.#own.usage(), server: this.#server?.usage() }
      await this.#finish()
      this.#enter('reading back', this.devices.length)
      return await summarize(this.devices, {
        ...this.options,
        run: this.run,
        seconds,
        statistics: this.statistics,
        usage,
        timers: this.#timers,
        client: this.#client,
        onVerified: () => {
          this.ready++
        },
      })
    } finally {
      signal?.removeEventListener('abort', end)
      this.phase = 'done'
      await Promise.all(this.devices.map((device) => device.close()))
      this.#timers.stop()
      this.#client.close()
    }
  }

  /** Ends the sending. */
  stop(): void {
    this.#stop.abort()
    this.#timers.endPauses()
  }

  /**
   * Adds devices while the fleet runs.
   * @throws {SimulationError} when the server refuses one.
   */
  async add(types: readonly DeviceType[], protocol = this.options.protocol): Promise<SimulatedDevice[]> {
    const added = await this.#join(types, protocol)
    await this.#connect(added)
    for (const device of added) device.start(performance.now())
    return added
  }

  /** Ends one device, after it has delivered what it has. */
  async stopDevice(device: SimulatedDevice): Promise<void> {
    device.finish()
    await this.#delivered([device])
    await device.close()
  }

  async #begin(): Promise<void> {
    const { types, protocol } = this.options
    const joined = await this.#join(types, protocol).catch((error: unknown) => {
      // A request that is ended by Ctrl-C is no fault of the server.
      if (!this.#stop.signal.aborted || !(error instanceof SimulationError)) throw error
      throw new SimulationError('It was stopped before the devices had their keys: nothing was sent.')
    })
    this.#enter('connecting', joined.length)
    await this.#connect(joined)
    this.#enter('sending', joined.length)
    this.#clock.begin(this.phaseSince)
    this.#own.start()
    this.#server?.start()
    if (!this.#stop.signal.aborted) for (const device of joined) device.start(this.phaseSince)
  }

  /** Enrols devices and adds them to the fleet; they are not connected yet. */
  async #join(types: readonly DeviceType[], protocol: FleetOptions['protocol']): Promise<SimulatedDevice[]> {
    const news = types.map((type) => this.#describe(type))
    const identities = new Map(
      (await this.#enrolment.enrol(news)).map((identity) => [identity.name, identity]),
    )
    const [first] = identities.values()
    if (first !== undefined && protocol !== 'http') this.#broker ??= await this.#findBroker(first)
    const joined = news.flatMap(({ name }, index) => {
      const identity = identities.get(name)
      const type = types[index]
      if (identity === undefined || type === undefined) return []
      const place = { seed: hashOf(this.options.seed ?? 1, seedOf(name)), site: this.#site }
      // Every other device: so each type has both.
      const way = protocol === 'mixed' ? (index % 2 === 0 ? 'http' : 'mqtt') : protocol
      return [new SimulatedDevice({ identity, type, place, protocol: way }, this.#context)]
    })
    this.devices.push(...joined)
    return joined
  }

  /** Names count the devices of each type, so that a second run has the same. */
  #describe({ name: type, description }: DeviceType): NewDevice {
    const number = (this.#numbers.get(type) ?? 0) + 1
    this.#numbers.set(type, number)
    const name = `${this.options.name ?? 'sim'}-${type}-${number}`
    return { name, type, description, location: locationOf(this.#site.kind, seedOf(name)) }
  }

  #findBroker(device: Identity): Promise<Omit<BrokerOptions, 'version'>> {
    const { url, mqttUrl } = this.options
    return findBroker({ url, mqttUrl, device, client: this.#client, over: () => this.#stop.signal.aborted })
  }

  async #connect(devices: readonly SimulatedDevice[]): Promise<void> {
    const connect = async (device: SimulatedDevice) => {
      if (this.#stop.signal.aborted) return
      const connected = device.connect()
      // When the fleet stops, nobody waits for a connection any more, nor hears that it failed.
      connected.catch(() => undefined)
      await Promise.race([connected, this.#stopped])
      this.ready++
    }
    await inParallel(devices, connect)
  }

  #openUplink(protocol: Protocol, device: Identity, events: UplinkEvents): Uplink {
    if (protocol === 'http') return new HttpUplink(this.#client, this.options.url, device, events)
    if (this.#broker === undefined) throw new SimulationError('The address of the broker is not known.')
    const { mqttVersion = '3.1.1' } = this.options
    const version = mqttVersion === '5' || (mqttVersion === 'mixed' && device.id % 2 === 0) ? 5 : 4
    return new MqttUplink({ ...this.#broker, version }, device, this.#timers, events)
  }

  /** Lets every device deliver what it has, and ends it. */
  async #finish(): Promise<void> {
    this.#enter('delivering', this.devices.length)
    for (const device of this.devices) device.finish()
    await this.#delivered(this.devices)
    await Promise.all(this.devices.map((device) => device.close()))
  }

  /** Waits until nothing is under way. A broken device has nobody to deliver to. */
  async #delivered(devices: readonly SimulatedDevice[]): Promise<void> {
    const until = performance.now() + (this.options.drainMs ?? defaultDrainMs)
    const isBusy = (device: SimulatedDevice) => device.waiting > 0 && device.status !== 'broken'
    while (performance.now() < until && devices.some(isBusy)) await this.#timers.pause(drainLookMs)
  }

  #enter(phase: Phase, expected: number): void {
    this.phase = phase
    this.phaseSince = performance.now()
    this.expected = expected
    this.ready = 0
  }
}
