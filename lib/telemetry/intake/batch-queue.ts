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

/** How a writer takes batches. They are handed over in the order of their arrival. */
export interface Batching {
  /** Batches that the queue may hand over before the first of them is answered. */
  readonly batchesAhead: number
  /**
   * Whether another server writes: a request costs it as much as many lines. A batch then gathers for longer, and may be larger.
   * With 64 connections over HTTP into InfluxDB this takes 0.69 of the CPU of a server that hands over two batches as soon as it can,
   * and stores 1.15 of its messages in a second (6 runs each by turns).
   */
  readonly isElsewhere: boolean
}

/** A batch for another server gathers as long as each turn of the event loop brings more, at most this long, ms. */
const gatherMs = 2

/** As many deliveries need not gather any more. */
const manyWaiting = 256

/** Characters of one batch for another server: it needs less for a line the more come at once. */
const maxBatchElsewhere = 2 * maxBatchCharacters

/** As many waiting deliveries are handed over at once, without waiting for what else this turn of the event loop brings. */
const handOverAt = 32

export class BatchQueue {
  readonly #write: WriteBatch
  readonly #batching: Batching
  readonly #most: Size
  readonly #underWay = new Set<Promise<void>>()
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
  constructor(write: WriteBatch, batching: Batching, most: Size) {
    this.#write = write
    this.#batching = batching
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
    if (this.#batching.batchesAhead > 1 && this.#queue.length >= handOverAt) this.#handOver()
    else if (!this.#planned && this.#hasRoom) this.#plan()
  }

  /** Takes nothing more. Resolves when everything is written. */
  async close(): Promise<void> {
    this.#closed = true
    this.#handOver()
    while (this.#underWay.size > 0) await Promise.all(this.#underWay)
  }

  get #hasRoom(): boolean {
    return this.#underWay.size < this.#batching.batchesAhead
  }

  /** Everything that this turn of the event loop brings belongs to the batch. */
  #plan(): void {
    this.#planned = true
    if (this.#batching.isElsewhere) this.#gather(performance.now() + gatherMs)
    else setImmediate(() => this.#handOver())
  }

  /** @param until by performance.now(). @param before how many waited a turn ago. */
  #gather(until: number, before = 0): void {
    setImmediate(() => {
      const waiting = this.#queue.length
      const mayGrow = waiting > before && waiting < manyWaiting && performance.now() < until
      if (mayGrow) this.#gather(until, waiting)
      else this.#handOver()
    })
  }

  #handOver(): void {
    this.#planned = false
    while (this.#queue.length > 0 && this.#hasRoom) {
      const written = this.#writeBatch(this.#nextBatch()).then(() => {
        this.#underWay.delete(written)
        this.#goOn()
      })
      this.#underWay.add(written)
    }
  }

  /** After a batch is written. */
  #goOn(): void {
    if (!this.#batching.isElsewhere || this.#closed) this.#handOver()
    else if (this.#queue.length > 0 && !this.#planned) this.#plan()
  }

  #nextBatch(): Waiting[] {
    const most = this.#batching.isElsewhere ? maxBatchElsewhere : maxBatchCharacters
    let characters = 0
    let end = 0
    for (const { size } of this.#queue) {
      if (end > 0 && characters >= most) break
      characters += size.characters
      end += 1
    }
    const batch = this.#queue.slice(0, end)
    this.#queue = this.#queue.slice(end)
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
