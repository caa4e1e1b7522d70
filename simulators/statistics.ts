/** What happens in the whole fleet while it runs. */
import type { FaultName } from './faults.ts'

/** Answer times that the percentiles are made of. */
const keptLatencies = 2000

export class Statistics {
  /** Readings that were sent at least once. */
  sent = 0
  acknowledged = 0
  heartbeats = 0
  commands = 0
  configurations = 0
  readonly retries: Record<string, number> = {}
  /** Why readings were not acknowledged, and how many for each reason. */
  readonly unacknowledged: Record<string, number> = {}
  readonly injected: Partial<Record<FaultName, number>> = {}
  readonly #latencies: number[] = []
  #next = 0

  retry(reason: string): void {
    this.retries[reason] = (this.retries[reason] ?? 0) + 1
  }

  inject(fault: FaultName): void {
    this.injected[fault] = (this.injected[fault] ?? 0) + 1
  }

  refuse(reason: string, count = 1): void {
    if (count === 0) return
    this.unacknowledged[reason] = (this.unacknowledged[reason] ?? 0) + count
  }

  /** @param ms from the sending of a message to its acknowledgement, with every repetition. */
  answered(ms: number): void {
    this.#latencies[this.#next] = ms
    this.#next = (this.#next + 1) % keptLatencies
  }

  /** Of the last answer times, ms; undefined before the first one. @param share 0.5 is the median. */
  latency(share: number): number | undefined {
    const sorted = this.#latencies.toSorted((one, other) => one - other)
    return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]
  }
}
