/** A simulated device that records what it got and which of its answers the server has. */
import { GaveUp, SimulationError } from '../../simulators/http-client.ts'
import type { TimerQueue } from '../../simulators/timer-queue.ts'
import type { CommandMessage, Uplink, UplinkEvents } from '../../simulators/uplink.ts'

/** How a device behaves. */
export interface Behaviour {
  readonly over: 'HTTP' | 'MQTT 3.1.1' | 'MQTT 5'
  /** It connects for the first time when the command was sent to the others. */
  readonly startsLate: boolean
  readonly answers: 'once' | 'twice' | 'never'
}

/** The i-th device of a fleet: a tenth starts late, 5 % never answer, 2 % answer twice, each over all three protocols. */
export const behaviourOf = (i: number): Behaviour => ({
  over: (['MQTT 3.1.1', 'MQTT 5', 'HTTP'] as const)[i % 3] ?? 'HTTP',
  startsLate: i % 10 === 0,
  answers: i % 20 === 11 ? 'never' : i % 50 === 7 ? 'twice' : 'once',
})

export class CommandDevice {
  readonly id: number
  readonly behaviour: Behaviour
  /** How often each command arrived. */
  readonly deliveries = new Map<string, number>()
  /** Commands of which the server has an answer. */
  readonly acknowledged = new Set<string>()
  /** Commands of which the server has the final answer. */
  readonly finished = new Set<string>()
  /** Commands that arrived after the server had their answer. */
  readonly afterAnswer: string[] = []
  readonly #timers: TimerQueue
  readonly #askEveryMs: number
  readonly #uplink: Uplink
  #ended = false

  /**
   * @param askEveryMs how often it asks, over HTTP.
   * @param open makes the connection of the device.
   */
  constructor(
    id: number,
    behaviour: Behaviour,
    timers: TimerQueue,
    askEveryMs: number,
    open: (events: UplinkEvents) => Uplink,
  ) {
    this.id = id
    this.behaviour = behaviour
    this.#timers = timers
    this.#askEveryMs = askEveryMs
    this.#uplink = open({
      onCommand: (command) => void this.#obey(command),
      onConfiguration: () => undefined,
      onConnected: () => undefined,
      onRetry: () => undefined,
    })
  }

  /** Connects, also to a server that is only starting. */
  async start(): Promise<void> {
    for (;;) {
      try {
        await this.#uplink.connect()
        break
      } catch (error) {
        if (!(error instanceof SimulationError) || this.#ended) throw error
        await this.#timers.pause(200)
      }
    }
    if (this.behaviour.over === 'HTTP') this.#ask()
  }

  async close(): Promise<void> {
    this.#ended = true
    this.#uplink.giveUp()
    await this.#uplink.close(false)
  }

  #ask(): void {
    if (this.#ended) return
    this.#uplink.heartbeat()
    this.#timers.at(this.#timers.now() + this.#askEveryMs, () => this.#ask())
  }

  async #obey({ command_id }: CommandMessage): Promise<void> {
    const id = String(command_id)
    const times = (this.deliveries.get(id) ?? 0) + 1
    this.deliveries.set(id, times)
    if (this.acknowledged.has(id)) this.afterAnswer.push(id)
    if (this.behaviour.answers === 'never') return
    // A device that gets a command again runs it no second time, but says again how it ended.
    if (times === 1 && (await this.#answer(id, 'acknowledged'))) this.acknowledged.add(id)
    const finals = this.behaviour.answers === 'twice' ? 2 : 1
    for (let n = 0; n < finals; n++) if (await this.#answer(id, 'succeeded')) this.finished.add(id)
    if (this.finished.has(id)) this.acknowledged.add(id)
  }

  #answer(id: string, status: 'acknowledged' | 'succeeded'): Promise<boolean> {
    return this.#uplink
      .answerCommand(id, status === 'succeeded' ? { status, result: { device: this.id } } : { status })
      .catch((error: unknown) => {
        if (error instanceof GaveUp) return false
        throw error
      })
  }
}
