/** Writes batches of readings: one request for a batch, split only when it is large or refused. */
import { HttpError, type InfluxDB, type SendOptions } from '@influxdata/influxdb-client'
import type { AppError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { isolateRefused } from '../intake/isolate-refused.ts'
import type { WriteEntry, WriteOutcome } from '../store.ts'
import { allUnavailable } from '../unavailable.ts'
import type { InfluxConnection } from './connection.ts'
import { InfluxFault, isRefusal, unavailableFor } from './faults.ts'
import type { FieldKinds } from './field-kinds.ts'
import { toLines } from './line-protocol.ts'

/** Characters of the lines of one request. A single longer line is sent alone. */
const maxRequestCharacters = 1_000_000
/** Bytes. A shorter request is not worth compressing. */
const gzipThreshold = 999

/** Knows what became of the lines of a batch, which are sent in their order. */
class LineOutcomes {
  /** Lines that InfluxDB refuses for good: by place, with its answer. */
  readonly refused = new Map<number, unknown>()
  /** Lines before this place are stored or refused. */
  knownUpTo = 0
  /** Why the lines from that place on may not be stored. */
  failure: AppError | undefined
}

/** The end of the longest part that begins at `from` and fits into one request; at least one line. */
const endOfPart = (lines: readonly string[], from: number): number => {
  let characters = 0
  let end = from
  while (end < lines.length) {
    characters += (lines[end] ?? '').length + 1
    if (end > from && characters > maxRequestCharacters) break
    end += 1
  }
  return end
}

export class InfluxWriter {
  readonly #client: InfluxDB
  readonly #path: string
  readonly #options: SendOptions
  readonly #kinds: FieldKinds
  readonly #log: Log
  /** Ends with the newest write. */
  #newest: Promise<unknown> = Promise.resolve()

  constructor(client: InfluxDB, { org, bucket }: InfluxConnection, kinds: FieldKinds, log: Log) {
    this.#client = client
    this.#path = `/api/v2/write?${new URLSearchParams({ org, bucket, precision: 'ns' })}`
    this.#options = {
      method: 'POST',
      headers: { 'content-type': 'text/plain; charset=utf-8' },
      gzipThreshold,
    }
    this.#kinds = kinds
    this.#log = log
  }

  /**
   * See {@link TelemetryStore.write}. Batches are sent one after the other, so that the last written value of a time wins.
   * Nothing is retried here: only the caller knows how long its messages may wait.
   */
  write(batch: readonly WriteEntry[]): Promise<readonly WriteOutcome[]> {
    const writing = this.#newest.then(() => this.#write(batch))
    this.#newest = writing.catch(() => undefined)
    return writing
  }

  /** Resolves when no write is running. */
  async close(): Promise<void> {
    await this.#newest
  }

  async #write(batch: readonly WriteEntry[]): Promise<readonly WriteOutcome[]> {
    let linesByEntry: string[][]
    try {
      await this.#kinds.refresh()
      linesByEntry = batch.map((entry) => toLines(entry, this.#kinds))
    } catch (error) {
      return allUnavailable(batch, error)
    }
    const { refused, knownUpTo, failure } = await this.#writeLines(linesByEntry.flat())
    this.#logRefusals(refused)
    let next = 0
    return linesByEntry.map(({ length }) => {
      const first = next
      next += length
      // InfluxDB overwrites a point with itself, so that a partly stored entry can be written again as a whole.
      if (failure !== undefined && next > knownUpTo) return { unavailable: failure }
      if (refused.size === 0) return { refused: [] }
      const places = Array.from({ length }, (_, place) => place)
      return { refused: places.filter((place) => refused.has(first + place)) }
    })
  }

  /** Sends parts in their order, because the later one of two values for one time must win. Stops at the first failure. */
  async #writeLines(lines: readonly string[]): Promise<LineOutcomes> {
    const outcomes = new LineOutcomes()
    try {
      while (outcomes.knownUpTo < lines.length) {
        const from = outcomes.knownUpTo
        const part = lines.slice(from, endOfPart(lines, from))
        await isolateRefused(part, (some, at) => this.#tryToSend(some, from + at, outcomes))
      }
    } catch (error) {
      outcomes.failure = unavailableFor(error)
    }
    return outcomes
  }

  /** @returns false when InfluxDB refuses at least one of the lines. @throws every other failure. */
  async #tryToSend(lines: readonly string[], first: number, outcomes: LineOutcomes): Promise<boolean> {
    try {
      await this.#send(lines)
    } catch (error) {
      if (!isRefusal(error)) throw error
      if (lines.length > 1) return false
      outcomes.refused.set(first, error)
      outcomes.knownUpTo = first + 1
      return false
    }
    outcomes.knownUpTo = first + lines.length
    return true
  }

  #logRefusals(refused: ReadonlyMap<number, unknown>): void {
    const [first] = refused.values()
    if (first !== undefined)
      this.#log.warn('InfluxDB refused readings', { readings: refused.size, error: new InfluxFault(first) })
  }

  async #send(lines: readonly string[]): Promise<void> {
    let answered: number | undefined
    const body = lines.join('\n')
    await this.#client.transport.request(this.#path, body, this.#options, (_headers, status) => {
      answered = status
    })
    // A proxy or another kind of server may answer 200: only 204 says that the points are durable.
    if (answered !== 204) throw new HttpError(answered ?? 0, undefined)
  }
}
