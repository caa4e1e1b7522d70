/** Reads stored readings back and compares them with the sent ones: each has a number, an exact time and exact values. */
import { describe, GaveUp, type HttpClient, type Patience, SimulationError } from './http-client.ts'
import type { Entry, Journal } from './journal.ts'
import type { Identity } from './uplink.ts'

/** A reading as the server answers it. */
export interface StoredReading {
  readonly timestamp: string
  readonly metadata: Readonly<Record<string, unknown>>
  readonly values: Readonly<Record<string, unknown>>
}

/** An acknowledged reading that is missing, or a stored one that differs from the sent one. */
export interface Fault {
  readonly kind: 'missing' | 'altered' | 'duplicated'
  /** The time of the reading, ISO 8601. */
  readonly timestamp: string
  /** An explanation for people. */
  readonly what: string
}

export interface Comparison {
  /** Sent readings that are there. */
  readonly found: number
  readonly faults: readonly Fault[]
  /** Stored readings of this run that the device never sent. */
  readonly unexpected: number
}

/** Readings per page by default. */
const defaultPageSize = 5000

/**
 * Reads every stored reading of a device from a time on, page by page.
 * @param from ISO 8601, included.
 * @throws {SimulationError} when the server answers otherwise than expected.
 */
export async function readBack(
  client: HttpClient,
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
    const answer = await client
      .request(
        `${url}/api/v1/telemetry/${device.id}?${query}`,
        { headers: { 'X-API-Key': device.apiKey } },
        patience,
      )
      .catch((error: unknown) => {
        if (!(error instanceof GaveUp)) throw error
        return fail(`${error.message}.`)
      })
    const page = (answer.body ?? {}) as { data?: unknown; next_cursor?: unknown }
    if (answer.status !== 200 || !Array.isArray(page.data)) return fail(describe(answer))
    for (const { timestamp, metadata = {}, ...values } of page.data)
      readings.push({ timestamp, metadata, values })
    if (typeof page.next_cursor !== 'string') return readings
    cursor = page.next_cursor
    if (seen.has(cursor)) return fail('a cursor came twice.')
    seen.add(cursor)
  }
}

/**
 * Converts an ISO 8601 UTC time to nanoseconds since the epoch: the number of digits makes no difference, a microsecond
 * does. Undefined for anything else.
 */
export function instantOf(timestamp: unknown): bigint | undefined {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(String(timestamp))
  const ms = Date.parse(`${match?.[1]}Z`)
  if (match === null || Number.isNaN(ms)) return undefined
  return BigInt(ms) * 1_000_000n + BigInt((match[2] ?? '').padEnd(9, '0'))
}

const nsPerMs = 1_000_000n
const shown = (value: unknown) => (value === undefined ? 'nothing' : JSON.stringify(value))

const difference = (sent: Readonly<Record<string, unknown>>, stored: StoredReading['values']): string => {
  const names = [...new Set([...Object.keys(sent), ...Object.keys(stored)])]
  return names
    .filter((name) => !Object.is(sent[name], stored[name]))
    .map((name) => `${name} was sent as ${shown(sent[name])} and reads ${shown(stored[name])}`)
    .join(', ')
}

/** What differs between a sent and a stored reading, as text; empty when nothing does. */
const alteration = ({ at, text }: Entry, stored: StoredReading, clockErrorMs: number): string => {
  const time = BigInt(at) * nsPerMs
  // A server need not believe a clock that is wrong: it may take the time of arrival.
  if (clockErrorMs === 0 && instantOf(stored.timestamp) !== time)
    return `its time was sent as ${new Date(at).toISOString()} and reads ${stored.timestamp}`
  return difference(JSON.parse(text) as Record<string, unknown>, stored.values)
}

/**
 * Compares a journal with stored readings. A reading is recognised by the run and the number in its metadata.
 * @param stored may contain readings of other runs, which are left out.
 */
export function compare(
  { journal, run, clockErrorMs }: { journal: Journal; run: string; clockErrorMs: number },
  stored: readonly StoredReading[],
): Comparison {
  const found = new Map<number, StoredReading>()
  const faults: Fault[] = []
  let unexpected = 0
  const timeOf = (at: number) => new Date(at).toISOString()
  for (const reading of stored) {
    if (reading.metadata.run !== run) continue
    const number = Number(reading.metadata.sequence)
    const entry = journal.entry(number)
    if (entry === undefined || entry.mark === 'waiting') unexpected++
    else if (!found.has(number)) found.set(number, reading)
    else
      faults.push({
        kind: 'duplicated',
        timestamp: timeOf(entry.at),
        what: `it is there again, at ${reading.timestamp}`,
      })
  }
  for (let number = 0; number < journal.length; number++) {
    const entry = journal.entry(number)
    if (entry === undefined) continue
    const timestamp = timeOf(entry.at)
    const match = found.get(number)
    if (match === undefined) {
      if (entry.mark === 'acknowledged')
        faults.push({ kind: 'missing', timestamp, what: 'it was acknowledged and is not there' })
      continue
    }
    const what = entry.mark === 'acknowledged' ? alteration(entry, match, clockErrorMs) : ''
    if (what !== '') faults.push({ kind: 'altered', timestamp, what })
  }
  return { found: found.size, faults, unexpected }
}
