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
import { toLines, toText } from './line-protocol.ts'

/** Characters of one request. A single longer message is sent alone. */
const maxRequestCharacters = 1_000_000
/** Bytes. A shorter request is not worth compressing. */
const gzipThreshold = 999

/** Entries that are sent with one request. */
interface Part {
  readonly text: string
  readonly from: number
  readonly to: number
}

const partsOf = (batch: readonly WriteEntry[], kinds: FieldKinds): Part[] => {
  const parts: Part[] = []
  let text = ''
  let from = 0
  for (const [at, entry] of batch.entries()) {
    const lines = toText(entry, kinds)
    if (text !== '' && text.length + lines.length >= maxRequestCharacters) {
      parts.push({ text, from, to: at })
      text = ''
      from = at
    }
    text = text === '' ? lines : `${text}\n${lines}`
  }
  if (text !== '') parts.push({ text, from, to: batch.length })
  return parts
}

const stored: WriteOutcome = { refused: [] }

/** Knows what became of the lines of a part that InfluxDB refused as a whole. They are sent in their order. */
class LineOutcomes {
  /** Lines that InfluxDB refuses for good: by place, with its answer. */
  readonly refused = new Map<number, unknown>()
  /** Lines before this place are stored or refused. */
  knownUpTo = 0

  /** Outcomes of the entries up to the first of which nothing is known. @param lengths lines of each entry. */
  ofEntries(lengths: readonly number[]): WriteOutcome[] {
    const outcomes: WriteOutcome[] = []
    let first = 0
    for (const length of lengths) {
      // InfluxDB overwrites a point with itself, so that a partly stored entry can be written again as a whole.
      if (first + length > this.knownUpTo) break
      const places = Array.from({ length }, (_, place) => place)
      const begin = first
      outcomes.push({ refused: places.filter((place) => this.refused.has(begin + place)) })
      first += length
    }
    return outcomes
  }
}

export class InfluxWriter {
  readonly #client: InfluxDB
  readonly #path: string
  readonly #options: SendOptions
  readonly #kinds: FieldKinds
  readonly #log: Log
  /** The end of the newest write of each device that has one under way. */
  readonly #newest = new Map<number, Promise<void>>()

  constructor(client: InfluxDB, { url, org, bucket }: InfluxConnection, kinds: FieldKinds, log: Log) {
    this.#client = client
    this.#path = `/api/v2/write?${new URLSearchParams({ org, bucket, precision: 'ns' })}`
    this.#options = {
      method: 'POST',
      headers: { 'content-type': 'text/plain; charset=utf-8' },
      // Plain http stays within a machine or its network, where compressing takes longer than sending.
      ...(url.startsWith('https:') && { gzipThreshold }),
    }
    this.#kinds = kinds
    this.#log = log
  }

  /**
   * See {@link TelemetryStore.write}. Batches that share a device are sent one after the other, so that the last written value of
   * a time wins. Nothing is retried here: only the caller knows how long its messages may wait.
   */
  write(batch: readonly WriteEntry[]): Promise<readonly WriteOutcome[]> {
    const earlier = new Set<Promise<void>>()
    for (const { deviceId } of batch) {
      const newest = this.#newest.get(deviceId)
      if (newest !== undefined) earlier.add(newest)
    }
    const writing =
      earlier.size === 0 ? this.#write(batch) : Promise.all(earlier).then(() => this.#write(batch))
    const ended: Promise<void> = writing.then(
      () => this.#forget(batch, ended),
      () => this.#forget(batch, ended),
    )
    for (const { deviceId } of batch) this.#newest.set(deviceId, ended)
    return writing
  }

  /** Resolves when no write is running. */
  async close(): Promise<void> {
    while (this.#newest.size > 0) await Promise.all(this.#newest.values())
  }

  #forget(batch: readonly WriteEntry[], ended: Promise<void>): void {
    for (const { deviceId } of batch) if (this.#newest.get(deviceId) === ended) this.#newest.delete(deviceId)
  }

  async #write(batch: readonly WriteEntry[]): Promise<readonly WriteOutcome[]> {
    let parts: Part[]
    try {
      await this.#kinds.refresh()
      parts = partsOf(batch, this.#kinds)
    } catch (error) {
      return allUnavailable(batch, error)
    }
    const outcomes: WriteOutcome[] = []
    let rest: WriteOutcome = stored
    // In their order, because the later one of two values for one time must win; nothing more after the first failure.
    for (const part of parts) {
      const failure = await this.#writePart(batch, part, outcomes)
      if (failure === undefined) continue
      rest = { unavailable: failure }
      break
    }
    while (outcomes.length < batch.length) outcomes.push(rest)
    return outcomes
  }

  /** Adds the outcomes of the entries that are stored or refused. @returns why the others of the part may not be stored. */
  async #writePart(
    batch: readonly WriteEntry[],
    { text, from, to }: Part,
    outcomes: WriteOutcome[],
  ): Promise<AppError | undefined> {
    try {
      await this.#send(text)
      while (outcomes.length < to) outcomes.push(stored)
      return undefined
    } catch (error) {
      if (!isRefusal(error)) return unavailableFor(error)
      return this.#isolate(batch.slice(from, to), error, outcomes)
    }
  }

  /** Sends the lines of a refused part in ever smaller pieces. @param answer of InfluxDB to the whole part. */
  async #isolate(
    entries: readonly WriteEntry[],
    answer: unknown,
    outcomes: WriteOutcome[],
  ): Promise<AppError | undefined> {
    const linesByEntry = entries.map((entry) => toLines(entry, this.#kinds))
    const lines = linesByEntry.flat()
    const found = new LineOutcomes()
    let failure: AppError | undefined
    try {
      await isolateRefused(lines, (some, at) => {
        const isWhole = some.length === lines.length
        return this.#tryToSend(
          () => (isWhole ? Promise.reject(answer) : this.#send(some.join('\n'))),
          at,
          some.length,
          found,
        )
      })
    } catch (error) {
      failure = unavailableFor(error)
    }
    this.#logRefusals(found.refused)
    outcomes.push(...found.ofEntries(linesByEntry.map(({ length }) => length)))
    return failure
  }

  /** @returns false when InfluxDB refuses at least one of the lines. @throws every other failure. */
  async #tryToSend(
    send: () => Promise<void>,
    first: number,
    count: number,
    found: LineOutcomes,
  ): Promise<boolean> {
    try {
      await send()
    } catch (error) {
      if (!isRefusal(error)) throw error
      if (count > 1) return false
      found.refused.set(first, error)
      found.knownUpTo = first + 1
      return false
    }
    found.knownUpTo = first + count
    return true
  }

  #logRefusals(refused: ReadonlyMap<number, unknown>): void {
    const [first] = refused.values()
    if (first !== undefined)
      this.#log.warn('InfluxDB refused readings', { readings: refused.size, error: new InfluxFault(first) })
  }

  async #send(body: string): Promise<void> {
    let answered: number | undefined
    await this.#client.transport.request(this.#path, body, this.#options, (_headers, status) => {
      answered = status
    })
    // A proxy or another kind of server may answer 200: only 204 says that the points are durable.
    if (answered !== 204) throw new HttpError(answered ?? 0, undefined)
  }
}
