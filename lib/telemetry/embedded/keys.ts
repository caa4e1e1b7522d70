/** Keys of readings: a reading whose key is known for 24 h is a duplicate. A key stands in `seen` with the token of its reading. */
import { randomUUID } from 'node:crypto'
import { earlierKeyOf, familyOfKey } from '../reading-keys.ts'
import type { Statement } from './connection.ts'

/** Sets the tokens of this process apart from those of every other process that ever wrote. */
const tokenPrefix = randomUUID()
let tokensMade = 0

export const newToken = (): string => {
  tokensMade += 1
  return `${tokenPrefix}.${tokensMade}`
}

/** Begins the token of a key whose reading is not stored yet; the time of the reading in ns follows. */
const reservationMark = 'reserved:'

export const reservation = (time: bigint): string => `${reservationMark}${time}`

/** The time of the reading that a key is reserved for, ns; undefined when the reading is stored. */
export const reservedTime = (token: string): bigint | undefined =>
  token.startsWith(reservationMark) ? BigInt(token.slice(reservationMark.length)) : undefined

/** A key as SQL reads it out of JSON. */
export interface KeyRow {
  readonly device: number
  readonly key: string
  readonly token: string
  /** Arrival, ms since the epoch. */
  readonly at: number
  /** Place of the reading among those that the request is about. */
  readonly place: number
  /** Whether the reading counts as stored. */
  readonly stored?: boolean
  readonly earlierKey?: string | undefined
  /** Of a request with an Idempotency-Key: its key in the table, and the digest of its body. */
  readonly request?: string | undefined
  readonly digest?: string | undefined
}

/** Condition of SQL: the Idempotency-Key of the JSON row's request belongs to a request with another body. */
export const isInConflict = (
  row: string,
): string => `(${row} ->> 'request' IS NOT NULL AND NOT EXISTS (SELECT 1 FROM seen
  WHERE seen.device_id = ${row} ->> 'device' AND seen.key = ${row} ->> 'request' AND seen.token = ${row} ->> 'digest'))`

/** Leaves out readings of a request in conflict, and those that an earlier version knows by their id alone. */
const insertKeys = `INSERT INTO seen (device_id, key, token, at)
  SELECT value ->> 'device', value ->> 'key', value ->> 'token', value ->> 'at' FROM json_each(?1)
  WHERE value ->> 'key' IS NOT NULL AND NOT ${isInConflict('value')}
    AND NOT EXISTS (SELECT 1 FROM seen WHERE device_id = value ->> 'device' AND key = value ->> 'earlierKey'
      AND token NOT LIKE '${reservationMark}%')`

/** A request with an Idempotency-Key as SQL reads it out of JSON. */
export interface RequestRow {
  readonly device: number
  readonly request: string
  readonly digest: string
  readonly at: number
}

/** The key under which a request is remembered, with the digest of its body as token. */
export const requestKey = (idempotencyKey: string): string => `r:${idempotencyKey}`

/** Notes requests whose keys nobody has. It comes before the statements about their readings. */
export const noteRequests = (rows: readonly RequestRow[]): Statement => ({
  sql: `INSERT INTO seen (device_id, key, token, at)
    SELECT value ->> 'device', value ->> 'request', value ->> 'digest', value ->> 'at' FROM json_each(?) WHERE true
    ON CONFLICT DO NOTHING`,
  args: [JSON.stringify(rows)],
})

/** What {@link insertKeys} needs to know about the key of a reading with a `message_id`; nothing for other keys. */
export const earlierKeyIn = (key: string | null | undefined): { earlierKey?: string | undefined } =>
  key ? { earlierKey: earlierKeyOf(key) } : {}

/** A key whose family decides whether its `message_id` was used before. */
interface FamilyMember {
  readonly device: number
  readonly key: string
  readonly family: string
  /** Names the reading in the answer: its token or its place. */
  readonly reading: string | number
}

/** Finds readings whose `message_id` stands for another reading already. */
export class ReusedIds {
  readonly #members: FamilyMember[] = []
  readonly #reused = new Set<string | number>()
  readonly #firstKeys = new Map<string, string>()

  /** Adds a reading in the order of arrival. @param reading names it in {@link isReused}. */
  add(device: number, key: string | null | undefined, reading: string | number): void {
    const family = key ? familyOfKey(key) : undefined
    if (!key || family === undefined) return
    this.#members.push({ device, key, family, reading })
    const ofDevice = `${device} ${family}`
    const first = this.#firstKeys.get(ofDevice)
    if (first === undefined) this.#firstKeys.set(ofDevice, key)
    else if (first !== key) this.#reused.add(reading)
  }

  get isEmpty(): boolean {
    return this.#members.length === 0
  }

  /** Reads the ids that other readings have; it comes before the keys are noted, and its rows go to {@link found}. */
  statement(): Statement {
    return {
      // Digests sort before the tilde. One other key is enough: a family may have thousands.
      sql: `SELECT value ->> 'reading' FROM json_each(?) WHERE EXISTS (SELECT 1 FROM seen
        WHERE device_id = value ->> 'device' AND key > value ->> 'family' AND key < (value ->> 'family') || '~'
          AND key <> value ->> 'key')`,
      args: [JSON.stringify(this.#members)],
    }
  }

  /** @param rows of {@link statement}. */
  found(rows: readonly (readonly unknown[])[]): void {
    for (const [reading] of rows) this.#reused.add(typeof reading === 'string' ? reading : Number(reading))
  }

  /** Whether another reading came before under the same id. A duplicate is reused only in name: the caller leaves it out. */
  isReused(reading: string | number): boolean {
    return this.#reused.has(reading)
  }

  get reused(): ReadonlySet<string | number> {
    return this.#reused
  }
}

/**
 * Notes the keys of readings that are stored or spooled. A reservation gives way to the reading; of several readings with one
 * key the first counts.
 */
export const noteKeys = (rows: string): Statement => ({
  sql: `${insertKeys}
    ON CONFLICT DO UPDATE SET token = excluded.token WHERE seen.token LIKE '${reservationMark}%'`,
  args: [rows],
})

/** Reserves keys that nobody has. */
export const reserveKeys = (rows: readonly KeyRow[]): Statement => ({
  sql: `${insertKeys} ON CONFLICT DO NOTHING`,
  args: [JSON.stringify(rows)],
})

/** The token that each key has now, with its place. */
export const tokensOfKeys = (rows: readonly KeyRow[]): Statement => ({
  sql: `SELECT value ->> 'place', seen.token FROM json_each(?)
    JOIN seen ON seen.device_id = value ->> 'device' AND seen.key = value ->> 'key'`,
  args: [JSON.stringify(rows)],
})

/** Condition of SQL: the key of this JSON row, if it has one, belongs to this very reading. */
export const isNotDuplicate = (
  row: string,
): string => `(${row} ->> 'key' IS NULL OR EXISTS (SELECT 1 FROM seen
  WHERE seen.device_id = ${row} ->> 'device' AND seen.key = ${row} ->> 'key' AND seen.token = ${row} ->> 'token'))`

/** The tokens of the readings whose key belongs to another reading, each with whether its request is in conflict. */
export const findDuplicates = (rows: string): Statement => ({
  sql: `SELECT value ->> 'token', ${isInConflict('value')} FROM json_each(?) WHERE NOT ${isNotDuplicate('value')}`,
  args: [rows],
})

/** The places of the readings whose request is in conflict. */
export const findConflicts = (rows: readonly KeyRow[]): Statement => ({
  sql: `SELECT value ->> 'place' FROM json_each(?) WHERE ${isInConflict('value')}`,
  args: [JSON.stringify(rows)],
})

/** The places of the readings that count as stored while their key belongs to another process's reading. */
export const placesOfKeysOfOthers = `SELECT value ->> 'place' AS place, value ->> 'device' AS device FROM json_each(?1)
  WHERE value ->> 'stored' AND NOT ${isNotDuplicate('value')}`

/** Forgets some keys that arrived before this time, ms since the epoch; answers a row for each. */
export const forgetKeys = (before: number, most: number): Statement => ({
  sql: `DELETE FROM seen WHERE (device_id, key) IN
    (SELECT device_id, key FROM seen WHERE at < ? LIMIT ?) RETURNING 1`,
  args: [before, most],
})
