/** What metrics tell about the way of readings: counted for each batch in this process since its start. */
import { AppError } from '../errors.ts'
import { Histogram } from '../histogram.ts'
import { Tally } from '../tally.ts'
import type { Door, Outcome } from '../telemetry/delivery.ts'
import { type ArrivedDelivery, type BatchObserver, rejectedOf } from '../telemetry/intake/batch-observer.ts'
import type { Warning, WarningCode } from '../telemetry/reading.ts'

/** Seconds. A batch in the embedded store takes about 2 ms, and a store that is away is waited for for a second. */
const secondsBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const sizeBounds = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]

const doors = ['http', 'mqtt', 'bridge', 'queue', 'replay'] as const satisfies readonly Door[]

export class IngestMetrics implements BatchObserver {
  /** Readings by what became of them. */
  readonly readings = { stored: 0, spooled: 0, rejected: 0, duplicate: 0 }
  readonly warnings = new Tally<WarningCode>()
  readonly batchMessages = new Histogram(sizeBounds)
  readonly batchSeconds = new Histogram(secondsBounds)
  /** From the hand-over of a message until its readings are durable, by door. */
  readonly latencies: ReadonlyMap<Door, Histogram> = new Map(
    doors.map((door) => [door, new Histogram(secondsBounds)]),
  )
  /** Messages of which nothing was stored or counted: they come again. */
  readonly failures: ReadonlyMap<Door, { count: number }> = new Map(doors.map((door) => [door, { count: 0 }]))

  batchEnded(
    batch: readonly ArrivedDelivery[],
    outcomes: readonly (Outcome | AppError)[],
    began: number,
  ): void {
    const now = performance.now()
    this.batchMessages.observe(batch.length)
    this.batchSeconds.observe((now - began) / 1000)
    for (const [at, outcome] of outcomes.entries()) {
      const { delivery, door = 'replay', since } = batch[at] as ArrivedDelivery
      if (outcome instanceof AppError) {
        const failures = this.failures.get(door)
        if (failures !== undefined) failures.count += 1
        continue
      }
      this.latencies.get(door)?.observe((now - since) / 1000)
      this.readings.stored += outcome.stored
      this.readings.spooled += outcome.queued
      this.readings.duplicate += outcome.duplicates
      this.readings.rejected += rejectedOf(delivery, outcome)
    }
  }

  messageWarned(warnings: readonly Warning[]): void {
    for (const { code } of warnings) this.warnings.add(code)
  }
}
