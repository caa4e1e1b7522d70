/** The proof: what the layer acknowledged is read back from it and compared, by time and by exact value. */
import type { Identity, SentReading } from './device.ts'
import { describe, GaveUp, type Patience, request, SimulationError } from './request.ts'

/** A reading as the layer answers it. */
export interface StoredReading {
  readonly timestamp: string
  readonly values: Readonly<Record<string, unknown>>
}

/** An acknowledged reading that is not there, or not as it was sent. */
export interface Fault {
  readonly kind: 'missing' | 'altered'
  readonly timestamp: string
  /** What is wrong with it, for people. */
  readonly what: string
}

export interface Comparison {
  readonly faults: readonly Fault[]
  /** Stored readings of times at which the device sent nothing, and second ones of one time. */
  readonly unexpected: number
}

/** A page holds this many readings when the caller does not say. */
const defaultPageSize = 1000

/**
 * Every stored reading of a device from a time on, page by page.
 * @param from ISO 8601, included.
 * @throws {SimulationError} when the layer does not answer as it should.
 */
export async function readBack(
  options: { url: string; device: Identity; from: string; pageSize?: number | undefined },
  patience: Patience,
): Promise<StoredReading[]> {
  const { url, device, from, pageSize = defaultPageSize } = options
  const readings: StoredReading[] = []
  const fail = (what: string): never => {
    throw new SimulationError(`The readings of ${device.name} could not be read back: ${what}`)
  }
  const seen = new Set<string>()
  for (let cursor: string | undefined; ; ) {
    const query = new URLSearchParams({ start_time: from, limit: String(pageSize), order: 'asc' })
    if (cursor !== undefined) query.set('cursor', cursor)
    const answer = await request(
      `${url}/api/v1/telemetry/${device.id}?${query}`,
      { headers: { 'X-API-Key': device.apiKey } },
      patience,
    ).catch((error: unknown) => {
      if (!(error instanceof GaveUp)) throw error
      return fail(`${error.message}.`)
    })
    const page = (answer.body ?? {}) as { data?: unknown; next_cursor?: unknown }
    if (answer.status !== 200 || !Array.isArray(page.data)) return fail(describe(answer))
    for (const { timestamp, metadata: _, ...values } of page.data) readings.push({ timestamp, values })
    if (typeof page.next_cursor !== 'string') return readings
    cursor = page.next_cursor
    if (seen.has(cursor)) return fail('a cursor came twice.')
    seen.add(cursor)
  }
}

/**
 * An ISO 8601 UTC time as nanoseconds since the epoch, so that times written with different numbers of digits are the
 * same and a shift of one microsecond is not. Undefined for anything else.
 */
export function instantOf(timestamp: unknown): bigint | undefined {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(String(timestamp))
  const ms = Date.parse(`${match?.[1]}Z`)
  if (match === null || Number.isNaN(ms)) return undefined
  return BigInt(ms) * 1_000_000n + BigInt((match[2] ?? '').padEnd(9, '0'))
}

const shown = (value: unknown) => (value === undefined ? 'nothing' : JSON.stringify(value))

const difference = (sent: Readonly<Record<string, unknown>>, stored: StoredReading['values']): string => {
  const names = [...new Set([...Object.keys(sent), ...Object.keys(stored)])]
  return names
    .filter((name) => !Object.is(sent[name], stored[name]))
    .map((name) => `${name} was sent as ${shown(sent[name])} and reads ${shown(stored[name])}`)
    .join(', ')
}

/**
 * Compares what was acknowledged with what is stored.
 * @param unacknowledged sent readings without an answer: they may be stored or not.
 */
export function compare(
  acknowledged: readonly SentReading[],
  stored: readonly StoredReading[],
  unacknowledged: readonly SentReading[] = [],
): Comparison {
  const found = new Map<bigint | undefined, StoredReading>()
  const sentTimes = new Set([...acknowledged, ...unacknowledged].map(({ timestamp }) => instantOf(timestamp)))
  let unexpected = 0
  for (const reading of stored) {
    const time = instantOf(reading.timestamp)
    if (found.has(time) || !sentTimes.has(time)) unexpected++
    if (!found.has(time)) found.set(time, reading)
  }
  const faults: Fault[] = []
  for (const { timestamp, values } of acknowledged) {
    const match = found.get(instantOf(timestamp))
    if (match === undefined) {
      faults.push({ kind: 'missing', timestamp, what: 'it was acknowledged and is not there' })
      continue
    }
    const what = difference({ ...values }, match.values)
    if (what !== '') faults.push({ kind: 'altered', timestamp, what })
  }
  return { faults, unexpected }
}
