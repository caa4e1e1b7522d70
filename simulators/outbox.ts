/** The readings of one device on their way: kept until they are acknowledged, one message after the other. */
import { type FaultRates, messageFaults } from './faults.ts'
import { backoffMs } from './http-client.ts'
import type { Journal } from './journal.ts'
import type { Statistics } from './statistics.ts'
import type { TimerQueue } from './timer-queue.ts'
import type { Outcome, Uplink } from './uplink.ts'

export interface OutboxOptions {
  /** Of the device, for its faults. */
  readonly seed: number
  readonly rates: FaultRates
  /** Written into each reading, so that the comparison knows which run sent it. */
  readonly run: string
  /** ms that the clock of the device is wrong. */
  readonly clockErrorMs: number
  /** Readings that are gathered before they are sent. */
  readonly gathered: number
  readonly journal: Journal
  readonly timers: TimerQueue
  readonly statistics: Statistics
}

/** Readings of one message: 100 of them stay below the 128 KiB that MQTT allows. */
const maxBatch = 100
/** A device that is offline for longer forgets its oldest readings. */
const maxWaiting = 10_000

const forgotten = 'the memory of the device was full'

export class Outbox {
  readonly #options: OutboxOptions
  /** Numbers of readings that wait. */
  readonly #waiting: number[] = []
  /** A reading that is sent after the next one. */
  #heldBack: number | undefined
  #uplink: Uplink | undefined
  #sending = false
  #messages = 0
  #lastReason = 'it was not sent before the end'
  #flushes = false
  #over = false
  /** Readings in the message that is under way. */
  #underWay = 0

  constructor(options: OutboxOptions) {
    this.#options = options
  }

  /** Readings that are not acknowledged yet. */
  get size(): number {
    return this.#waiting.length + this.#underWay + (this.#heldBack === undefined ? 0 : 1)
  }

  /** Sends what waits over this connection, from now on. Undefined: the device is offline. */
  use(uplink: Uplink | undefined): void {
    this.#uplink = uplink
    this.#pump()
  }

  /** @param heldBack true: it is sent after a later reading. */
  add(number: number, heldBack: boolean): void {
    if (heldBack && this.#heldBack === undefined) {
      this.#heldBack = number
      this.#options.statistics.inject('out of order')
      return
    }
    this.#waiting.push(number)
    if (this.#heldBack !== undefined) {
      this.#waiting.push(this.#heldBack)
      this.#heldBack = undefined
    }
    if (this.#waiting.length > maxWaiting) {
      this.#waiting.shift()
      this.#options.statistics.refuse(forgotten)
    }
    this.#pump()
  }

  /** Sends the rest at once, also what would be gathered or held back. */
  flush(): void {
    this.#flushes = true
    if (this.#heldBack !== undefined) this.#waiting.push(this.#heldBack)
    this.#heldBack = undefined
    this.#pump()
  }

  /** Sends nothing more; what is not acknowledged by now never will be. */
  end(): void {
    if (this.#over) return
    this.#over = true
    this.#uplink = undefined
    this.#options.statistics.refuse(this.#lastReason, this.size)
  }

  #pump(): void {
    const enough = this.#flushes ? 1 : this.#options.gathered
    if (this.#sending || this.#uplink === undefined || this.#waiting.length < enough) return
    this.#sending = true
    // The faults of a device with a wrong clock are easier to judge one by one: a store may refuse old items of a batch.
    const most = this.#options.clockErrorMs === 0 ? maxBatch : 1
    const numbers = this.#waiting.splice(0, most)
    this.#underWay = numbers.length
    this.#send(this.#uplink, numbers)
      .catch(
        (error: unknown): Outcome => ({
          acknowledged: false,
          reason: (error as Error).message,
          final: false,
        }),
      )
      .then((outcome) => this.#after(numbers, outcome))
  }

  /** Keeps what nobody refused for another try. */
  async #after(numbers: readonly number[], outcome: Outcome): Promise<void> {
    // The end has counted what was under way.
    if (this.#over) return
    this.#underWay = 0
    if (!outcome.acknowledged && !outcome.final) {
      this.#lastReason = outcome.reason
      this.#waiting.unshift(...numbers)
      if (this.#uplink !== undefined) await this.#options.timers.pause(backoffMs(0))
    }
    this.#sending = false
    this.#pump()
  }

  async #send(uplink: Uplink, numbers: readonly number[]): Promise<Outcome> {
    const { rates, seed, statistics, timers, journal } = this.#options
    const faults = messageFaults(rates, seed, this.#messages++)
    for (const number of numbers) {
      if (journal.entry(number)?.mark === 'waiting') statistics.sent++
      journal.mark(number, 'unsure')
    }
    const began = timers.now()
    if (faults.latencyMs > 0) await timers.pause(faults.latencyMs)
    if (faults.failure !== 'none') statistics.inject(faults.failure)
    // The device waits for an answer that does not come, and sends the message again.
    if (faults.failure === 'message lost') await timers.pause(backoffMs(0))
    const payload = this.#payload(numbers)
    const outcome = await uplink.send({ payload, loseAnswer: faults.failure === 'answer lost' })
    if (this.#over) return outcome
    if (outcome.acknowledged) statistics.answered(timers.now() - began)
    this.#settle(numbers, outcome)
    if (faults.duplicate && outcome.acknowledged) {
      statistics.inject('duplicate')
      await uplink.send({ payload, loseAnswer: false })
    }
    if (faults.disconnect) {
      statistics.inject('disconnect')
      uplink.disconnect()
    }
    return outcome
  }

  #settle(numbers: readonly number[], outcome: Outcome): void {
    const { journal, statistics } = this.#options
    if (!outcome.acknowledged && !outcome.final) return
    for (const [index, number] of numbers.entries()) {
      const reason = outcome.acknowledged ? outcome.refused.get(index) : outcome.reason
      if (reason === undefined) {
        statistics.acknowledged++
        journal.mark(number, 'acknowledged')
      } else {
        statistics.refuse(reason)
        journal.mark(number, 'refused')
      }
    }
  }

  /** One reading as an object, several as a list of them. */
  #payload(numbers: readonly number[]): string {
    const items = numbers.map((number) => this.#reading(number))
    return items.length === 1 ? (items[0] ?? '') : `[${items.join(',')}]`
  }

  #reading(number: number): string {
    const { journal, run, clockErrorMs } = this.#options
    const entry = journal.entry(number)
    const time = new Date((entry?.at ?? 0) + clockErrorMs).toISOString()
    // A reading that gets its time from its arrival is recognised by its id when it is sent again.
    const id = clockErrorMs === 0 ? '' : `,"message_id":"${run}-${number}"`
    return `{"timestamp":"${time}","data":${entry?.text},"metadata":{"run":"${run}","sequence":${number}}${id}}`
  }
}
