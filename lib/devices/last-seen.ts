/**
 * Last-seen times of devices and last uses of keys. Every message changes them, so they are kept in memory and written
 * together every few seconds.
 */
import { sql } from 'drizzle-orm'
import { LRUCache } from 'lru-cache'
import type { Log } from '../log.ts'
import type { RegistryDb } from '../registry/db.ts'
import type { Device } from './device.ts'
import { cameOnline } from './presence-statements.ts'

export interface LastSeenOptions {
  readonly db: RegistryDb
  readonly log: Log
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** Time between two writes, ms. */
  readonly flushEveryMs: number
  /** Writes also between requests; false where the process stands still then. */
  readonly background: boolean
  /** Time that a cached row may be used, ms. For this long after a write, some cached rows are still older than it. */
  readonly cacheMs: number
  /** Seconds; for devices without a value of their own. */
  readonly offlineAfterS: number
}

/** Rows of one statement. */
const rowsPerWrite = 500

/** Time between two writes of the last use of a key, ms: operators need no more, and a device may connect often. */
export const keyUseWrittenEveryMs = 300_000

/** Devices and keys whose last write is remembered. */
const maxWritten = 10_000

/** Stored times may be this far ahead of our clock without being wrong: other processes write them too, ms. */
const toleranceMs = 10_000

/** Times by the id of a device or of a credential, ms since the epoch. */
type Times = ReadonlyMap<number, number>

/** The rows of one write, as JSON: pairs of an id and a time. */
const jsonOf = (rows: readonly (readonly [number, number])[], from: number) =>
  JSON.stringify(rows.slice(from, from + rowsPerWrite))

export class LastSeen {
  readonly #options: LastSeenOptions
  readonly #timer: NodeJS.Timeout | undefined
  /** The newest last-seen time of each device. An entry stays until every cached row is newer than its write. */
  readonly #seenAt = new Map<number, number>()
  #unwrittenDevices = new Set<number>()
  /** Last uses by credential id. */
  #unwrittenUses = new Map<number, number>()
  readonly #devicesWrittenAt = new LRUCache<number, number>({ max: maxWritten })
  readonly #usesWrittenAt = new LRUCache<number, number>({ max: maxWritten })
  /** The write that is under way. */
  #flushing: Promise<void> | undefined
  /** The newest time of our clock that was seen; 0 until stored times were compared with it. */
  #newestNow = 0

  constructor(options: LastSeenOptions) {
    this.#options = options
    if (!options.background) return
    this.#timer = setInterval(() => this.#flushWhenNeeded(), options.flushEveryMs)
    this.#timer.unref()
  }

  /** Notes that the device was seen now. */
  touch(deviceId: number): void {
    this.#seenAt.set(deviceId, this.#options.now())
    this.#unwrittenDevices.add(deviceId)
  }

  /**
   * Notes the use of a key, unless one was written a short time before.
   * @param at milliseconds since the epoch.
   * @param writtenAt the last use that the row of the key has.
   */
  keyUsed(credentialId: number, at: number, writtenAt: number | null): void {
    const last = this.#usesWrittenAt.get(credentialId) ?? writtenAt ?? Number.NEGATIVE_INFINITY
    if (Math.abs(at - last) >= keyUseWrittenEveryMs) this.#unwrittenUses.set(credentialId, at)
  }

  /**
   * Notes the last-seen time that a row has, whoever wrote it: many processes that share a registry write each device once.
   * @param offlineAt of the row: a device that is offline is written with its next message, whenever it was written before.
   */
  rowRead(deviceId: number, lastSeenAt: number | null, offlineAt: number | null): void {
    if ((lastSeenAt ?? 0) <= (offlineAt ?? 0)) {
      this.#devicesWrittenAt.delete(deviceId)
      return
    }
    const isUsable = lastSeenAt !== null && lastSeenAt <= this.#options.now()
    if (isUsable && lastSeenAt > (this.#devicesWrittenAt.get(deviceId) ?? 0))
      this.#devicesWrittenAt.set(deviceId, lastSeenAt)
  }

  /** The device with its newest last-seen time, which its row may lack, and which is never later than now. */
  applyTo(device: Device): Device {
    const seenAt = Math.max(device.lastSeenAt ?? 0, this.#seenAt.get(device.id) ?? 0)
    const lastSeenAt = Math.min(seenAt, this.#options.now())
    return lastSeenAt === (device.lastSeenAt ?? 0) ? device : { ...device, lastSeenAt }
  }

  /** Forgets a deleted device. */
  forget(deviceId: number): void {
    this.#seenAt.delete(deviceId)
    this.#unwrittenDevices.delete(deviceId)
  }

  /** Writes all that is unwritten, or waits for the write that is under way. Rejects when it fails; nothing is lost then. */
  flush(): Promise<void> {
    this.#flushing ??= this.#write(this.#unwrittenDevices, this.#unwrittenUses).finally(() => {
      this.#flushing = undefined
    })
    return this.#flushing
  }

  /**
   * Writes the devices and keys whose last write was `flushEveryMs` ago, or never happened. The others stay unwritten: their
   * rows are as new as that.
   */
  async flushDue(): Promise<void> {
    await this.#underWay()
    const { now, flushEveryMs } = this.#options
    const dueBefore = now() - flushEveryMs
    const isDue = (writtenAt: LRUCache<number, number>, id: number) => (writtenAt.get(id) ?? 0) <= dueBefore
    const devices = [...this.#unwrittenDevices].filter((id) => isDue(this.#devicesWrittenAt, id))
    const uses = [...this.#unwrittenUses].filter(([id]) => isDue(this.#usesWrittenAt, id))
    if (devices.length === 0 && uses.length === 0) return
    this.#flushing = this.#write(new Set(devices), new Map(uses)).finally(() => {
      this.#flushing = undefined
    })
    await this.#flushing
  }

  /** Writes all that is unwritten and ends. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#underWay()
    await this.flush()
  }

  /** Waits for the write that is under way: times that came after its begin are not in it. */
  async #underWay(): Promise<void> {
    await this.#flushing?.catch(() => {})
  }

  /**
   * Brings times back that were written while the clock was ahead: a device would count as online, or as offline, until they have
   * passed. Only after a step back of the clock, and once at the beginning.
   */
  async correctFuture(): Promise<void> {
    const now = this.#options.now()
    const isRight = this.#newestNow !== 0 && now >= this.#newestNow - toleranceMs
    if (isRight) {
      this.#newestNow = Math.max(now, this.#newestNow)
      return
    }
    for (const [id, seenAt] of this.#seenAt) if (seenAt > now) this.#seenAt.set(id, now)
    const before = now + toleranceMs
    await this.#options.db.run(sql`update devices
      set last_seen_at = min(last_seen_at, ${now}), offline_at = min(offline_at, ${now})
      where last_seen_at > ${before} or offline_at > ${before}`)
    this.#devicesWrittenAt.clear()
    this.#usesWrittenAt.clear()
    this.#newestNow = now
  }

  #flushWhenNeeded(): void {
    this.correctFuture().catch((error) =>
      this.#options.log.warn('last-seen times in the future could not be corrected', { error }),
    )
    if (this.#unwrittenDevices.size === 0 && this.#unwrittenUses.size === 0) return
    this.flush().catch((error) => this.#options.log.warn('last-seen times could not be written', { error }))
  }

  async #write(deviceIds: ReadonlySet<number>, uses: Times): Promise<void> {
    this.#unwrittenDevices = new Set([...this.#unwrittenDevices].filter((id) => !deviceIds.has(id)))
    this.#unwrittenUses = new Map([...this.#unwrittenUses].filter(([id]) => !uses.has(id)))
    try {
      await this.#writeThese(deviceIds, uses)
    } catch (error) {
      this.#unwrittenDevices = new Set([...deviceIds, ...this.#unwrittenDevices])
      this.#unwrittenUses = new Map([...uses, ...this.#unwrittenUses])
      throw error
    }
  }

  async #writeThese(deviceIds: ReadonlySet<number>, uses: Times): Promise<void> {
    const { db, now, offlineAfterS } = this.#options
    const at = now()
    const seenRows = [...deviceIds].map((id) => [id, this.#seenAt.get(id) ?? at] as const)
    const useRows = [...uses]
    for (let from = 0; from < Math.max(seenRows.length, useRows.length); from += rowsPerWrite) {
      const ids = JSON.stringify(seenRows.slice(from, from + rowsPerWrite).map(([id]) => id))
      const [event, state] = cameOnline(ids, offlineAfterS)
      await db.batch([
        db.run(sql`update devices set last_seen_at = j.value ->> 1 from json_each(${jsonOf(seenRows, from)}) as j
          where devices.id = j.value ->> 0
            and (coalesce(last_seen_at, 0) < j.value ->> 1 or last_seen_at > ${at + toleranceMs})`),
        db.run(event),
        db.run(state),
        db.run(sql`update credentials set last_used_at = j.value ->> 1 from json_each(${jsonOf(useRows, from)}) as j
          where credentials.id = j.value ->> 0 and coalesce(last_used_at, 0) < j.value ->> 1`),
      ])
    }
    for (const id of deviceIds) this.#devicesWrittenAt.set(id, at)
    for (const id of uses.keys()) this.#usesWrittenAt.set(id, at)
    this.#forgetWritten(at)
  }

  /** Forgets the times that every row in memory has already. */
  #forgetWritten(at: number): void {
    const { cacheMs, flushEveryMs } = this.#options
    const before = at - cacheMs - 2 * flushEveryMs
    for (const [id, seenAt] of this.#seenAt)
      if (seenAt < before && !this.#unwrittenDevices.has(id)) this.#seenAt.delete(id)
  }
}
