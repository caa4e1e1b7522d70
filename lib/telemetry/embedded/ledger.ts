/** The ledger: accounts, keys of readings and deleted ranges. It stands in the embedded database, beside any store. */
import DataLoader from 'dataloader'
import type { Account, AccountChange } from '../account.ts'
import type { Delivery } from '../delivery.ts'
import { judgedTime, type Sample } from '../samples.ts'
import type { Freshness, TimeRange } from '../store.ts'
import { encodeAccounts, type RemovalsWanted, toAccount } from './accounting.ts'
import type { SampleRow } from './alert-states.ts'
import type { EmbeddedDatabase } from './database.ts'
import {
  earlierKeyIn,
  type KeyRow,
  newToken,
  type RequestRow,
  requestKey,
  reservation,
  reservedTime,
} from './keys.ts'

/** What became of one delivery whose readings are stored elsewhere. */
export interface RecordedDelivery {
  readonly deviceId: number
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
  /** Readings that were rejected as not valid, and those that the store refused. */
  readonly rejected: number
  /** Recognised by keys that were recorded before. */
  readonly duplicates: number
  /** Readings about which the parser warned; absent for none. */
  readonly warned?: number | undefined
  /** Readings that are stored. */
  readonly stored: number
  /** One per stored reading; absent where none has a key. */
  readonly keys?: readonly (string | undefined)[] | undefined
  /** What the stored readings say about alert rules, each with the time of its reading, ns since the epoch. */
  readonly samples?: readonly (Sample & { readonly time: bigint })[] | undefined
  /** Keys of readings that the store refused: the same again is a duplicate. */
  readonly refusedKeys: readonly string[]
}

/** The reservation of the keys of one delivery. */
export interface Reservation {
  /** For each reading the time of the reading that its key was reserved for first, ns; undefined where that one is recorded. */
  readonly times: readonly (bigint | undefined)[]
  /** Places of readings that are not recorded, under an id that the device used for another reading. */
  readonly reused: readonly number[]
  /** The key of the request came with another body before: nothing is reserved. */
  readonly conflict: boolean
}

const changeOf = ({ deviceId, receivedAt, rejected, duplicates, warned, stored }: RecordedDelivery) => ({
  deviceId,
  received: stored + rejected + duplicates,
  stored,
  rejected,
  duplicates,
  warned,
  lastArrival: receivedAt,
})

export class Ledger {
  readonly #database: EmbeddedDatabase
  readonly #now: () => number
  /** Asks once for all messages of a queue's batch. */
  readonly #removals: DataLoader<RemovalsWanted, TimeRange[]>

  /** @param now milliseconds since the epoch. */
  constructor(database: EmbeddedDatabase, now: () => number = Date.now) {
    this.#database = database
    this.#now = now
    this.#removals = new DataLoader((wanted) => this.#readRemovals(wanted), { cache: false })
  }

  /**
   * Reserves the keys of readings that are about to be stored elsewhere, until they are recorded or 24 h have passed.
   * @returns one reservation per delivery.
   * @throws {AppError} UNAVAILABLE
   */
  async reserve(batch: readonly Delivery[]): Promise<Reservation[]> {
    const made = batch.map(({ readings }) => ({
      times: readings.map(({ time }): bigint | undefined => time),
      reused: [] as number[],
      conflict: false,
    }))
    const keys: KeyRow[] = []
    const requests: RequestRow[] = []
    const placeOf: [delivery: number, reading: number][] = []
    for (const [at, { deviceId, receivedAt, readings, keys: own, request }] of batch.entries()) {
      const facts = request && { request: requestKey(request.key), digest: request.digest }
      if (facts !== undefined) requests.push({ device: deviceId, at: receivedAt, ...facts })
      for (const [index, { time }] of readings.entries()) {
        const key = own?.[index]
        if (key === undefined) continue
        const place = placeOf.push([at, index]) - 1
        const token = reservation(time)
        keys.push({ device: deviceId, key, token, at: receivedAt, place, ...earlierKeyIn(key), ...facts })
        // Without a token in the answer, the reading was recorded by an earlier version.
        made[at]?.times.splice(index, 1, undefined)
      }
    }
    if (keys.length === 0) return made
    const reserved = await this.#database.writer.change('reserveKeys', { keys, requests })
    for (const { place, token } of reserved.tokens) {
      const [at = 0, index = 0] = placeOf[place] ?? []
      made[at]?.times.splice(index, 1, reservedTime(token))
    }
    for (const place of reserved.reused) {
      const [at = 0, index = 0] = placeOf[place] ?? []
      if (made[at]?.times[index] !== undefined) made[at]?.reused.push(index)
    }
    for (const place of reserved.conflicts) {
      const of = made[placeOf[place]?.[0] ?? 0]
      if (of !== undefined) of.conflict = true
    }
    return made
  }

  /**
   * Counts a batch whose readings are stored elsewhere, notes the keys and judges the samples: one statement, more only where
   * there are keys or samples.
   * @returns for each delivery how many of its stored readings another process recorded first: they count as duplicates.
   * @throws {AppError} UNAVAILABLE: nothing is counted.
   */
  async record(batch: readonly RecordedDelivery[]): Promise<number[]> {
    const recordedBefore = batch.map(() => 0)
    if (batch.length === 0) return recordedBefore
    const keys: KeyRow[] = []
    const samples: SampleRow[] = []
    const deliveryOf: number[] = []
    const add = (at: number, key: string, stored: boolean): string => {
      const { deviceId, receivedAt } = batch[at] as RecordedDelivery
      const place = deliveryOf.push(at) - 1
      const token = newToken()
      keys.push({ device: deviceId, key, token, at: receivedAt, place, stored })
      return token
    }
    for (const [at, { deviceId, receivedAt, keys: own, refusedKeys, samples: judged }] of batch.entries()) {
      const tokens = own?.map((key) => (key === undefined ? undefined : add(at, key, true)))
      for (const key of refusedKeys) add(at, key, false)
      if (judged === undefined) continue
      for (const { at: place, rule, revision, time, verdict, value } of judged) {
        const [key, token] = [own?.[place], tokens?.[place]]
        const members = token === undefined ? undefined : JSON.stringify({ key, token }).slice(1, -1)
        const ts = judgedTime(time, receivedAt)
        samples.push({ rule, revision, deviceId, ts, verdict, value, key: members })
      }
    }
    const accounts = encodeAccounts(batch.map(changeOf))
    for (const place of await this.#database.writer.change('record', { accounts, keys, samples })) {
      const at = deliveryOf[place] ?? 0
      recordedBefore[at] = (recordedBefore[at] ?? 0) + 1
    }
    return recordedBefore
  }

  /** Moves readings between the parts of accounts. @throws {AppError} UNAVAILABLE */
  async count(...changes: AccountChange[]): Promise<void> {
    await this.#database.writer.change('count', { accounts: encodeAccounts(changes) })
  }

  /** The account of one device, or of all. @throws {AppError} UNAVAILABLE */
  async account(deviceId?: number, freshness?: Freshness): Promise<Account> {
    return toAccount(await this.#database.query('account', { deviceId }, freshness))
  }

  /** The newest arrival that was counted, ms since the epoch; 0 for none. @throws {AppError} UNAVAILABLE */
  async lastArrival(): Promise<number> {
    const [[arrival] = []] = await this.#database.query('lastArrival', {})
    return Number(arrival ?? 0)
  }

  /**
   * Remembers for 15 days that a range was deleted now: readings that wait in a queue must not bring it back.
   * @throws {AppError} UNAVAILABLE
   */
  async noteRemoved(deviceId: number, { from, to }: TimeRange): Promise<void> {
    await this.#database.writer.change('noteRemoved', { deviceId, from, to, at: this.#now() })
  }

  /** The ranges that were deleted at this time or later, ms since the epoch. @throws {AppError} UNAVAILABLE */
  removedSince(deviceId: number, at: number): Promise<TimeRange[]> {
    return this.#removals.load({ deviceId, at })
  }

  async #readRemovals(wanted: readonly RemovalsWanted[]): Promise<TimeRange[][]> {
    const ranges = wanted.map((): TimeRange[] => [])
    for (const [place, from, to] of await this.#database.query('removedSince', { wanted }))
      ranges[Number(place)]?.push({ from: from as bigint, to: to as bigint })
    return ranges
  }
}
