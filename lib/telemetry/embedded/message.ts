/**
 * A message as the thread of the embedded store sees it. Fields and metadata stay the JSON texts that the main thread made
 * once: the store binds these texts as they are.
 */
import type { FieldValue, Reading } from '../reading.ts'
import type { KeyedRequest } from '../reading-keys.ts'
import { earlierKeyIn, requestKey } from './keys.ts'

export interface MessageReading {
  /** Nanoseconds since the epoch. */
  readonly ts: bigint
  /** JSON object. */
  readonly fields: string
  /** JSON object. */
  readonly metadata: string | null
  /** Only in a message with keys; null for its readings without one. */
  readonly key?: string | null
  /** Only in a message with keys: unique among all readings ever written. */
  readonly token?: string
}

export interface Message {
  readonly deviceId: number
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
  readonly deviceType: string
  readonly location: string | null
  /** Whether the readings enter the account of the device. */
  readonly counted: boolean
  /** Whether readings have keys and tokens. */
  readonly keyed: boolean
  /** Readings of the message that were rejected; only counted. */
  readonly rejected: number
  /** Readings of the message about which the parser warned; only counted. */
  readonly warned: number
  /** Only of a message with keys. */
  readonly request?: KeyedRequest | undefined
  /** What alert rules are to judge, as JSON; see `encodeSamples`. */
  readonly samples?: string | undefined
  readonly readings: readonly MessageReading[]
}

/** The key of a reading and what else decides whether it is new, as members of a JSON object. */
export const keyFacts = (key: string | null | undefined, request: KeyedRequest | undefined): string =>
  JSON.stringify({
    key: key ?? null,
    ...earlierKeyIn(key),
    ...(request && { request: requestKey(request.key), digest: request.digest }),
  }).slice(1, -1)

/** Messages as one text, one line each: passing one text to a thread costs less than passing a list. */
export interface Lines {
  readonly count: number
  readonly text: string
}

export interface Written {
  /** Places of the messages that could not be written. */
  readonly failed: readonly number[]
  /** The database's code for the last failure; empty when nothing failed. */
  readonly code: string
  /** Tokens of the readings whose key was there before. */
  readonly duplicates: readonly string[]
  /** Tokens of the readings whose request's key belongs to a request with another body; they are no duplicates. */
  readonly conflicts?: readonly string[]
  /** Tokens of readings under an id that the device used for another reading. */
  readonly reused?: readonly string[]
}

/** A reading as a JSON object that SQL takes apart by the names of its members. */
export const jsonRow = (
  { deviceId, receivedAt, deviceType, location, request }: Message,
  { ts, fields, metadata, key, token }: MessageReading,
): string =>
  `{"device":${deviceId},"ts":"${ts}","fields":${fields},"metadata":${metadata ?? 'null'},"at":${receivedAt},"type":${JSON.stringify(deviceType)},"location":${JSON.stringify(location)}${
    token === undefined ? '' : `,"token":"${token}",${keyFacts(key, request)}`
  }}`

/** All readings as a JSON array of {@link jsonRow}. */
export const jsonRows = (messages: readonly Message[]): string =>
  `[${messages.flatMap((message) => message.readings.map((reading) => jsonRow(message, reading))).join(',')}]`

interface JsonRow {
  readonly ts: string
  readonly fields: Record<string, FieldValue>
  readonly metadata: Record<string, string> | null
  readonly type: string
  readonly location: string | null
}

/** The form of {@link jsonRow} that earlier versions wrote: device, time in ns, fields, metadata, arrival, type, location. */
type LegacyRow = [
  number,
  string,
  Record<string, FieldValue>,
  Record<string, string> | null,
  number,
  string,
  string | null,
]

const isLegacy = (row: JsonRow | LegacyRow): row is LegacyRow => Array.isArray(row)

/** Reads rows that stand in a spool, of this version or an earlier one. @param rows separated by commas. */
export function readRows(rows: string): { deviceType: string; location: string | null; readings: Reading[] } {
  const parsed = (JSON.parse(`[${rows}]`) as (JsonRow | LegacyRow)[]).map((row): JsonRow => {
    if (!isLegacy(row)) return row
    const [, ts, fields, metadata, , type, location] = row
    return { ts, fields, metadata, type, location }
  })
  return {
    deviceType: parsed[0]?.type ?? '',
    location: parsed[0]?.location ?? null,
    readings: parsed.map(({ ts, fields, metadata }) => ({
      time: BigInt(ts),
      fields,
      metadata: metadata ?? undefined,
    })),
  }
}
