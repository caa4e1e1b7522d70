/** API keys: random, shown once, stored as their SHA-256 only. A device has at most two valid ones. */
import { hash, randomBytes } from 'node:crypto'
import { and, desc, eq, gt, isNull, ne, or, sql } from 'drizzle-orm'
import { formatMillis } from '../iso-time.ts'
import { boundEvents } from '../registry/bounded-events.ts'
import type { RegistryDb } from '../registry/db.ts'
import { credentials } from '../registry/schema.ts'
import { type Actor, insertEvent } from './events.ts'
import type { KeyLife } from './fields.ts'

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

/** Number of first characters of a key that may be shown, to tell keys apart. */
export const prefixLength = 6

const keyShape = /^[A-Za-z0-9]{24,64}$/

/**
 * Makes a new key of letters and digits, each with the same probability: 5.95 bits a character.
 * @param length 24–64 characters.
 */
export function mintKey(length: number): string {
  let key = ''
  while (key.length < length) {
    for (const byte of randomBytes(length)) {
      // 248 is the largest multiple of 62 in a byte: bytes above it would favour the first letters.
      if (byte < 248 && key.length < length) key += alphabet[byte % 62]
    }
  }
  return key
}

/** False for text that cannot be a key, so that it is refused without a query. */
export const looksLikeKey = (text: string): boolean => keyShape.test(text)

/** SHA-256 in hex. A plain digest is enough: nobody can guess a random key. */
export const digestKey = (key: string): string => hash('sha256', key)

export const keyPrefix = (key: string): string => key.slice(0, prefixLength)

/** An API key as operators see it, without the key itself. Times are milliseconds since the epoch. */
export interface Credential {
  readonly keyPrefix: string
  readonly createdAt: number
  readonly expiresAt: number | null
  readonly lastUsedAt: number | null
  readonly revokedAt: number | null
}

const timeOrNull = (ms: number | null) => (ms === null ? null : formatMillis(ms))

/** A credential as answers show it. @param now milliseconds since the epoch. */
export const credentialView = (credential: Credential, now: number) => ({
  key_prefix: credential.keyPrefix,
  is_active: credential.revokedAt === null && (credential.expiresAt === null || credential.expiresAt > now),
  created_at: formatMillis(credential.createdAt),
  expires_at: timeOrNull(credential.expiresAt),
  last_used: timeOrNull(credential.lastUsedAt),
  last_used_at: timeOrNull(credential.lastUsedAt),
  revoked_at: timeOrNull(credential.revokedAt),
})

/**
 * The columns of a new key.
 * @param createdAt milliseconds since the epoch.
 * @param life undefined for a key without an end.
 */
export const credentialOf = (apiKey: string, createdAt: number, life?: KeyLife) => ({
  keyHash: digestKey(apiKey),
  keyPrefix: keyPrefix(apiKey),
  createdAt,
  lifetimeS: life?.lifetimeS ?? null,
  expiresAt: life?.expiresAt ?? null,
})

export interface Rotation {
  readonly apiKey: string
  /** The end of the key that stays valid, milliseconds since the epoch; null when none stays. */
  readonly previousKeyExpiresAt: number | null
  /** The end of the new key, milliseconds since the epoch; null when it has none. */
  readonly expiresAt: number | null
  /** Whether a key has become invalid at once. */
  readonly ended: boolean
}

export interface RotationOptions {
  /** Seconds that the previous key stays valid, 0–604800. */
  readonly graceS: number
  /** The key that stays valid until the grace ends; by default the newest one. */
  readonly usedKey?: string
  /** The life of the new key. By default as long as `usedKey` was to live; without that key it has no end. */
  readonly life?: KeyLife | undefined
  readonly by: Actor
}

/** The most credentials of a device that are listed, and kept after they were revoked. */
const maxListed = 100

export interface CredentialsOptions {
  readonly db: RegistryDb
  /** Characters of a new key, 24–64. */
  readonly keyLength: number
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** @throws {AppError} NOT_FOUND when there is no such device. */
  readonly mustExist: (deviceId: number) => Promise<unknown>
  /** Called after a change of a device's keys. */
  readonly forgetCached: (deviceId: number) => void
}

/** The keys of devices: rotation, revocation and list. */
export class Credentials {
  readonly #options: CredentialsOptions

  constructor(options: CredentialsOptions) {
    this.#options = options
  }

  /**
   * Makes a new key. One other key stays valid until the grace ends; all further ones end at once.
   * @throws {AppError} NOT_FOUND
   */
  async rotate(deviceId: number, { graceS, usedKey, life, by }: RotationOptions): Promise<Rotation> {
    const { db, keyLength, now, mustExist, forgetCached } = this.#options
    await mustExist(deviceId)
    const apiKey = mintKey(keyLength)
    const at = now()
    const graceEnd = at + graceS * 1000
    const isLive = and(
      eq(credentials.deviceId, deviceId),
      isNull(credentials.revokedAt),
      or(isNull(credentials.expiresAt), gt(credentials.expiresAt, at)),
    )
    const staysValid =
      usedKey === undefined
        ? sql`(select max(${credentials.id}) from ${credentials} where ${isLive})`
        : sql`(select ${credentials.id} from ${credentials} where ${credentials.keyHash} = ${digestKey(usedKey)})`
    // The next key of a device lives as long as the operator wanted its keys to live.
    const lifetime = sql`(select ${credentials.lifetimeS} from ${credentials}
      where ${credentials.keyHash} = ${digestKey(usedKey ?? '')})`
    const inherited =
      usedKey === undefined || life !== undefined
        ? {}
        : { lifetimeS: lifetime, expiresAt: sql`${at} + ${lifetime} * 1000` }
    const [revoked, [previous], [created]] = await db.batch([
      db
        .update(credentials)
        .set({ revokedAt: at })
        .where(and(isLive, ne(credentials.id, staysValid)))
        .returning({ id: credentials.id }),
      db
        .update(credentials)
        .set({
          expiresAt: sql`min(coalesce(${credentials.expiresAt}, ${graceEnd}), ${graceEnd})`,
          // Without a grace the caller ends the sessions of the key now.
          ...(graceS === 0 ? { endedAt: at } : {}),
        })
        .where(isLive)
        .returning({ expiresAt: credentials.expiresAt }),
      db
        .insert(credentials)
        .values({
          ...credentialOf(apiKey, at, life),
          ...inherited,
          deviceId,
        })
        .returning({ expiresAt: credentials.expiresAt }),
      insertEvent(db, deviceId, 'key_rotated', at, { by, key_prefix: keyPrefix(apiKey), grace_s: graceS }),
      boundEvents(db, deviceId, 'key_rotated'),
      // A device may change its key as often as it likes.
      db.run(sql`delete from credentials where revoked_at is not null and id in (select id from credentials
        where device_id = ${deviceId} order by id desc limit -1 offset ${maxListed})`),
    ])
    forgetCached(deviceId)
    return {
      apiKey,
      previousKeyExpiresAt: previous?.expiresAt ?? null,
      expiresAt: created?.expiresAt ?? null,
      ended: revoked.length > 0 || graceS === 0,
    }
  }

  /**
   * Revokes all keys of a device that are not revoked yet, or those with a prefix.
   * @returns how many keys were revoked.
   * @throws {AppError} NOT_FOUND
   */
  async revoke(deviceId: number, prefix?: string): Promise<number> {
    const { db, now, mustExist, forgetCached } = this.#options
    await mustExist(deviceId)
    const at = now()
    const revoked = await db
      .update(credentials)
      .set({ revokedAt: at })
      .where(
        and(
          eq(credentials.deviceId, deviceId),
          isNull(credentials.revokedAt),
          prefix === undefined ? undefined : eq(credentials.keyPrefix, prefix),
        ),
      )
      .returning({ prefix: credentials.keyPrefix })
    forgetCached(deviceId)
    if (revoked.length > 0)
      await insertEvent(db, deviceId, 'key_revoked', at, { key_prefixes: revoked.map((key) => key.prefix) })
    return revoked.length
  }

  /** The newest 100 credentials of a device, newest first. */
  list(deviceId: number): Promise<Credential[]> {
    return this.#options.db
      .select()
      .from(credentials)
      .where(eq(credentials.deviceId, deviceId))
      .orderBy(desc(credentials.id))
      .limit(maxListed)
  }
}
