/**
 * Group commit: deliveries that come at the same time are written as one batch. While one batch is under way the next one
 * gathers, so that a batch is one message in quiet times and thousands under load.
 */
import type { AppError } from '../../errors.ts'
import { type Delivery, type Door, maxBatchCharacters, type Outcome, type Size, sizeOf } from '../delivery.ts'
import { unavailable } from '../unavailable.ts'
import type { ArrivedDelivery } from './batch-observer.ts'

/**
 * Called once, when the delivery is durable and counted, or with why it is not. A call instead of a promise: of a message over the
 * bridge, the promises of its way were a third of the CPU.
 */
export type Settle = (outcome: Outcome | AppError) => void

export interface Waiting extends ArrivedDelivery {
  /** Whether the spool may take it: a delivery out of the spool's own queue stays there instead. */
  readonly maySpool: boolean
  readonly size: Size
  readonly settle: Settle
}

export type WriteBatch = (batch: readonly Waiting[]) => Promise<readonly (Outcome | AppError)[]>

/** How a writer takes batches. */
export interface Batching {
  /** Batches that the queue may hand over before the first of them is answered. */
  readonly batchesAhead: number
  /** The writer may write a batch before an earlier one: the queue then hands over none that share a device at the same time. */
  readonly inAnyOrder: boolean
}

/**
 * Where batches may be in any order, another one is written beside fewer deliveries than these: the next ones do not wait for the
 * answer of another server. As many cost less in one large batch, and need not wait for more of them.
 */
const fewDeliveries = 256

/**
 * Where batches may be in any order, one gathers while each turn of the event loop brings more, at most this long, ms: a request costs
 * another server as much as many lines. Over HTTP into InfluxDB, 0.7 of the CPU (InfluxDB's counted) and 1.15 of the rate with 64
 * connections; with 8, 0.7 and 1.3 (runs by turns with the queue that did not gather).
 */
const gatherMs = 2

/** Characters of one batch that another server writes: it needs less for a line the more come at once. */
const maxBatchElsewhere = 2 * maxBatchCharacters

/** As many waiting deliveries are handed over at once, without waiting for what else this turn of the event loop brings. */
const handOverAt = 32

export class BatchQueue {
  readonly #write: WriteBatch
  readonly #batching: Batching
  readonly #most: Size
  readonly #underWay = new Set<Promise<void>>()
  /** Devices of the deliveries under way, where batches may be in any order. */
  readonly #busyDevices = new Set<number>()
  #deliveriesUnderWay = 0
  #queue: Waiting[] = []
  #readings = 0
  #characters = 0
  #planned = false
  #closed = false

  /**
   * @param write one outcome per delivery, in order, or why it was not stored.
   * @param most what may wait; beyond it a delivery is refused, unless it came over the bridge: that bounds itself what it has in
   * progress, and what is refused to it would come later, in another order.
   */
  constructor(write: WriteBatch, { batchesAhead, inAnyOrder }: Batching, most: Size) {
    this.#write = write
    this.#batching = { batchesAhead, inAnyOrder }
    this.#most = most
  }

  /** Settles with the error UNAVAILABLE when more waits than may, or after the end of the queue. */
  add(delivery: Delivery, door: Door | undefined, maySpool: boolean, settle: Settle): void {
    const size = sizeOf(delivery)
    const [readings, characters] = [this.#readings + size.readings, this.#characters + size.characters]
    const isFull = readings > this.#most.readings || characters > this.#most.characters
    if (this.#closed || (isFull && door !== 'bridge')) {
      settle(unavailable())
      return
    }
    this.#readings = readings
    this.#characters = characters
    this.#queue.push({ delivery, door, since: performance.now(), maySpool, size, settle })
    if (this.#batching.inAnyOrder) {
      if (!this.#hasRoom || this.#busyDevices.has(delivery.deviceId)) return
      if (!this.#planned) this.#plan()
    } else if (this.#batching.batchesAhead > 1 && this.#queue.length >= handOverAt) this.#handOver()
    else if (!this.#planned && this.#hasRoom) this.#plan()
  }

  /** Takes nothing more. Resolves when everything is written. */
  async close(): Promise<void> {
    this.#closed = true
    this.#handOver()
    while (this.#underWay.size > 0) await Promise.all(this.#underWay)
  }

  get #hasRoom(): boolean {
    const { batchesAhead, inAnyOrder } = this.#batching
    return this.#underWay.size < batchesAhead && (!inAnyOrder || this.#deliveriesUnderWay < fewDeliveries)
  }

  /** Everything that this turn of the event loop brings belongs to the batch. */
  #plan(): void {
    this.#planned = true
    if (this.#batching.inAnyOrder) this.#gather(performance.now() + gatherMs)
    else setImmediate(() => this.#handOver())
  }

  /** @param until by performance.now(). @param before how many waited a turn ago. */
  #gather(until: number, before = 0): void {
    setImmediate(() => {
      const waiting = this.#queue.length
      const mayGrow = waiting > before && waiting < fewDeliveries && performance.now() < until
      if (mayGrow) this.#gather(until, waiting)
      else this.#handOver()
    })
  }

  #handOver(): void {
    this.#planned = false
    while (this.#queue.length > 0 && this.#hasRoom) {
      const batch = this.#nextBatch()
      if (batch.length === 0) return
      this.#begin(batch)
      const written = this.#writeBatch(batch).then(() => {
        this.#underWay.delete(written)
        this.#end(batch)
        this.#goOn()
      })
      this.#underWay.add(written)
    }
  }

  /** After a batch. */
  #goOn(): void {
    const waiting = this.#queue.length
    const isToGather = this.#batching.inAnyOrder && !this.#closed && waiting < fewDeliveries
    if (!isToGather) this.#handOver()
    else if (waiting > 0 && !this.#planned) this.#plan()
  }

  #begin(batch: readonly Waiting[]): void {
    this.#deliveriesUnderWay += batch.length
    if (this.#batching.inAnyOrder) for (const { delivery } of batch) this.#busyDevices.add(delivery.deviceId)
  }

  #end(batch: readonly Waiting[]): void {
    this.#deliveriesUnderWay -= batch.length
    // Nearly always, the other batches are over, too: then it takes no time.
    if (this.#underWay.size === 0) this.#busyDevices.clear()
    else for (const { delivery } of batch) this.#busyDevices.delete(delivery.deviceId)
  }

  /** The next deliveries, in their order, without those of devices that are busy. */
  #nextBatch(): Waiting[] {
    const most = this.#batching.inAnyOrder ? maxBatchElsewhere : maxBatchCharacters
    let characters = 0
    const batch: Waiting[] = []
    const left: Waiting[] = []
    for (const waiting of this.#queue) {
      const isNext =
        (batch.length === 0 || characters < most) && !this.#busyDevices.has(waiting.delivery.deviceId)
      if (isNext) characters += waiting.size.characters
      ;(isNext ? batch : left).push(waiting)
    }
    this.#queue = left
    return batch
  }

  async #writeBatch(batch: readonly Waiting[]): Promise<void> {
    const outcomes = await this.#write(batch).catch((error: unknown) => batch.map(() => unavailable(error)))
    for (const [at, { size, settle }] of batch.entries()) {
      this.#readings -= size.readings
      this.#characters -= size.characters
      settle(outcomes[at] ?? unavailable())
    }
  }
}
