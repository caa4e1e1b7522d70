/** Keys with which devices register themselves: random, shown once, stored as their SHA-256 only. */
import { and, desc, eq, getTableColumns, gt, isNull, lt, or, sql } from 'drizzle-orm'
import { AppError } from '../errors.ts'
import { formatMillis } from '../iso-time.ts'
import { violatedConstraint } from '../libsql/errors.ts'
import type { RegistryDb } from '../registry/db.ts'
import { enrollmentKeys } from '../registry/schema.ts'
import { digestKey, keyPrefix, looksLikeKey, mintKey } from './credentials.ts'
import { madeRows } from './new-devices.ts'

/** An enrolment key as operators see it, without the key itself. Times are milliseconds since the epoch. */
export interface EnrollmentKey {
  readonly id: number
  readonly name: string
  readonly keyPrefix: string
  /** The only type that may be registered with it; null for any. */
  readonly deviceType: string | null
  /** Devices that may be registered with it; null for any number. */
  readonly maxDevices: number | null
  /** Devices that were registered with it. */
  readonly used: number
  readonly createdAt: number
  readonly expiresAt: number | null
  readonly lastUsedAt: number | null
  readonly revokedAt: number | null
}

export interface NewEnrollmentKey {
  readonly name: string
  readonly deviceType?: string | null | undefined
  readonly maxDevices?: number | null | undefined
  /** Milliseconds since the epoch; undefined for a key without an end. */
  readonly expiresAt?: number | undefined
}

export const enrollmentKeyStatuses = ['active', 'used_up', 'expired', 'revoked'] as const

const keyLength = 32
/** Keys that are not revoked: more would be no keys for groups of devices any more. */
const maxKeys = 1000
/** Age at which revoked keys are deleted, ms. */
const revokedMs = 90 * 86_400_000

const statusOf = (key: EnrollmentKey, now: number): (typeof enrollmentKeyStatuses)[number] => {
  if (key.revokedAt !== null) return 'revoked'
  if (key.expiresAt !== null && key.expiresAt <= now) return 'expired'
  return key.maxDevices !== null && key.used >= key.maxDevices ? 'used_up' : 'active'
}

const timeOrNull = (ms: number | null) => (ms === null ? null : formatMillis(ms))

/** An enrolment key as answers show it. @param now milliseconds since the epoch. */
export const enrollmentKeyView = (key: EnrollmentKey, now: number) => ({
  id: key.id,
  name: key.name,
  key_prefix: key.keyPrefix,
  status: statusOf(key, now),
  device_type: key.deviceType,
  max_devices: key.maxDevices,
  used: key.used,
  created_at: formatMillis(key.createdAt),
  expires_at: timeOrNull(key.expiresAt),
  last_used_at: timeOrNull(key.lastUsedAt),
  revoked_at: timeOrNull(key.revokedAt),
})

const notFound = () => new AppError('NOT_FOUND', 'There is no such enrolment key.')
// Only those who have a key learn that it has ended: nobody can guess one.
const expired = () => new AppError('UNAUTHORIZED', 'The enrolment key has expired.')
const usedUp = () => new AppError('FORBIDDEN', 'The enrolment key has registered as many devices as it may.')

const { keyHash: _hash, ...columns } = getTableColumns(enrollmentKeys)

/**
 * The statement that counts the registrations of a batch with their keys. The batch fails as a whole when a key may not register
 * as many: `used` becomes null then, or more than its check allows.
 * @param json of the rows that {@link insertDevices} has written.
 * @param at milliseconds since the epoch.
 */
export const countRegistrations = (db: RegistryDb, json: string, at: number) =>
  db.run(sql`update enrollment_keys set last_used_at = ${at},
      used = iif(revoked_at is null and coalesce(expires_at > ${at}, 1), used + made.devices, null)
    from (select r.value ->> 'enrollment_key' as key_id, count(*) as devices from ${madeRows(json)} group by key_id) as made
    where enrollment_keys.id = made.key_id`)

/** The error of a registration that {@link countRegistrations} has refused; undefined for any other error. */
export function refusedRegistration(error: unknown): AppError | undefined {
  switch (violatedConstraint(error)) {
    case 'check':
      return usedUp()
    case 'not null':
      return expired()
    default:
      return undefined
  }
}

/** An error of {@link refusedRegistration}: another key may still register the device. */
export const isRefusedByKey = (error: unknown): boolean =>
  error instanceof AppError && (error.code === 'FORBIDDEN' || error.code === 'UNAUTHORIZED')

export class EnrollmentKeys {
  readonly #db: RegistryDb
  readonly #now: () => number

  /** @param now milliseconds since the epoch. */
  constructor(db: RegistryDb, now: () => number = Date.now) {
    this.#db = db
    this.#now = now
  }

  /** @throws {AppError} CONFLICT when there are 1000 keys already. */
  async create({
    name,
    deviceType,
    maxDevices,
    expiresAt,
  }: NewEnrollmentKey): Promise<{ key: string; enrollmentKey: EnrollmentKey }> {
    const key = mintKey(keyLength)
    const at = this.#now()
    const [, [{ keys } = { keys: 0 }]] = await this.#db.batch([
      this.#db.delete(enrollmentKeys).where(lt(enrollmentKeys.revokedAt, at - revokedMs)),
      this.#db
        .select({ keys: sql<number>`count(*)` })
        .from(enrollmentKeys)
        .where(isNull(enrollmentKeys.revokedAt)),
    ])
    if (keys >= maxKeys)
      throw new AppError('CONFLICT', `There are ${maxKeys} enrolment keys already: revoke some.`)
    const [enrollmentKey] = await this.#db
      .insert(enrollmentKeys)
      .values({
        name,
        keyHash: digestKey(key),
        keyPrefix: keyPrefix(key),
        deviceType: deviceType ?? null,
        maxDevices: maxDevices ?? null,
        createdAt: at,
        expiresAt: expiresAt ?? null,
      })
      .returning(columns)
    if (enrollmentKey === undefined) throw new AppError('INTERNAL', 'The enrolment key was not written.')
    return { key, enrollmentKey }
  }

  /** Newest first. @param before only keys with a smaller id. */
  list({ limit, before }: { limit: number; before?: number | undefined }): Promise<EnrollmentKey[]> {
    return this.#db
      .select(columns)
      .from(enrollmentKeys)
      .where(before === undefined ? undefined : lt(enrollmentKeys.id, before))
      .orderBy(desc(enrollmentKeys.id))
      .limit(limit)
  }

  /** @throws {AppError} NOT_FOUND */
  async get(id: number): Promise<EnrollmentKey> {
    const [found] = await this.#db.select(columns).from(enrollmentKeys).where(eq(enrollmentKeys.id, id))
    if (found === undefined) throw notFound()
    return found
  }

  /** A key that is revoked already stays as it is. @throws {AppError} NOT_FOUND */
  async revoke(id: number): Promise<EnrollmentKey> {
    await this.#db
      .update(enrollmentKeys)
      .set({ revokedAt: this.#now() })
      .where(and(eq(enrollmentKeys.id, id), isNull(enrollmentKeys.revokedAt)))
    return this.get(id)
  }

  /**
   * The key that a caller has sent; undefined for an unknown or revoked one.
   * @throws {AppError} UNAUTHORIZED when it has expired, FORBIDDEN when it is used up.
   */
  async admit(key: string): Promise<{ keyId: number; deviceType: string | null } | undefined> {
    if (!looksLikeKey(key)) return undefined
    const [found] = await this.#db
      .select(columns)
      .from(enrollmentKeys)
      .where(eq(enrollmentKeys.keyHash, digestKey(key)))
    if (found === undefined) return undefined
    switch (statusOf(found, this.#now())) {
      case 'revoked':
        return undefined
      case 'expired':
        throw expired()
      case 'used_up':
        throw usedUp()
      case 'active':
        return { keyId: found.id, deviceType: found.deviceType }
    }
  }

  /** Whether any key may register a device. */
  async any(): Promise<boolean> {
    const [found] = await this.#db
      .select({ id: enrollmentKeys.id })
      .from(enrollmentKeys)
      .where(
        and(
          isNull(enrollmentKeys.revokedAt),
          or(isNull(enrollmentKeys.expiresAt), gt(enrollmentKeys.expiresAt, this.#now())),
          or(isNull(enrollmentKeys.maxDevices), lt(enrollmentKeys.used, enrollmentKeys.maxDevices)),
        ),
      )
      .limit(1)
    return found !== undefined
  }
}
