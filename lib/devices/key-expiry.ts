/** Keys that expire: a warning some days before, and the end of the sessions that were opened with them. */
import { sql } from 'drizzle-orm'
import type { Sessions } from '../broker/sessions.ts'
import { formatMillis } from '../iso-time.ts'
import type { RegistryDb } from '../registry/db.ts'
import { keyUseWrittenEveryMs } from './last-seen.ts'

export interface KeyExpiryOptions {
  readonly db: RegistryDb
  readonly sessions: Pick<Sessions, 'end'>
  /** Changes the account at a broker that keeps passwords itself; undefined for the others. */
  readonly endAccount: ((deviceId: number) => Promise<unknown>) | undefined
  /** Milliseconds since the epoch. */
  readonly now?: () => number
}

/** Keys are announced this long before their end, but never in the first three quarters of their life, ms. */
const warnBeforeMs = 7 * 86_400_000
/** Keys of one statement, and keys whose sessions one run ends. */
const keysPerRun = 200
/** Time for the sessions of expired keys, ms: a broker that is away lets each of them wait. */
const longestRunMs = 20_000
/** The clocks of the broker and of this process may differ by this much, ms. */
const clockSkewMs = 10_000

interface ExpiredKey {
  readonly id: number
  readonly deviceId: number
  readonly prefix: string
  readonly expiresAt: number
  /** 1 when a session of the device is open that may have been opened with this key. */
  readonly mayHaveSession: 0 | 1
}

export class KeyExpiry {
  readonly #options: KeyExpiryOptions

  constructor(options: KeyExpiryOptions) {
    this.#options = options
  }

  /** Warns of keys that expire soon, and ends what has expired. @returns how many keys have expired. */
  async run(): Promise<number> {
    await this.#warn()
    let ended = 0
    const until = performance.now() + longestRunMs
    for (const key of await this.#expired())
      if (performance.now() < until && (await this.#end(key))) ended += 1
    return ended
  }

  /** Once for each key. A key that a rotation has given an end needs no warning: there is a newer one. */
  async #warn(): Promise<void> {
    const { db, now = Date.now } = this.#options
    const at = now()
    const due = sql`select id from credentials where expires_at > ${at} and expires_at <= ${at + warnBeforeMs}
      and ended_at is null and revoked_at is null and warned_at is null
      and expires_at >= created_at + (lifetime_s - 2) * 1000 and expires_at - ${at} <= lifetime_s * 250
      order by id limit ${keysPerRun}`
    const found = await db.all<{ id: number }>(due)
    if (found.length === 0) return
    const ids = JSON.stringify(found.map(({ id }) => id))
    const these = sql`id in (select value from json_each(${ids})) and warned_at is null`
    await db.batch([
      db.run(sql`insert into events (device_id, kind, detail, at)
        select device_id, 'key_expiring', json_object('key_prefix', key_prefix, 'expires_at',
          strftime('%Y-%m-%dT%H:%M:%SZ', expires_at / 1000, 'unixepoch')), ${at}
        from credentials where ${these}`),
      db.run(sql`update credentials set warned_at = ${at} where ${these}`),
    ])
  }

  #expired(): Promise<ExpiredKey[]> {
    const { db, now = Date.now } = this.#options
    return db.all<ExpiredKey>(sql`select id, device_id as deviceId, key_prefix as prefix, expires_at as expiresAt,
        exists (select 1 from sessions where device_id = credentials.device_id and ended_at is null
          and since <= coalesce(credentials.last_used_at, 0) + ${keyUseWrittenEveryMs + clockSkewMs}) as mayHaveSession
      from credentials where expires_at <= ${now()} and ended_at is null and revoked_at is null
      order by expires_at limit ${keysPerRun}`)
  }

  /** @returns false when the broker could not be reached: the next run tries it again. */
  async #end({ id, deviceId, prefix, expiresAt, mayHaveSession }: ExpiredKey): Promise<boolean> {
    const { db, sessions, endAccount, now = Date.now } = this.#options
    await endAccount?.(deviceId)
    // Such a broker reports no sessions.
    const isOpen = mayHaveSession === 1 || endAccount !== undefined
    if (isOpen && (await sessions.end(deviceId)) === null) return false
    const detail = JSON.stringify({ key_prefix: prefix, expired_at: formatMillis(expiresAt) })
    await db.batch([
      db.run(sql`insert into events (device_id, kind, detail, at)
        select device_id, 'key_expired', ${detail}, ${now()} from credentials where id = ${id} and ended_at is null`),
      db.run(sql`update credentials set ended_at = ${now()} where id = ${id} and ended_at is null`),
    ])
    return true
  }
}
