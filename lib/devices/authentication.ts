/** Authentication: from an API key to its device, in memory where possible. */
import DataLoader from 'dataloader'
import { eq, sql } from 'drizzle-orm'
import { AppError } from '../errors.ts'
import type { RegistryDb } from '../registry/db.ts'
import { credentials, devices } from '../registry/schema.ts'
import { digestKey, keyPrefix, looksLikeKey } from './credentials.ts'
import type { Device } from './device.ts'
import type { DeviceCache, KnownKey } from './device-cache.ts'
import { type DeviceRows, deviceColumns } from './device-rows.ts'
import type { LastSeen } from './last-seen.ts'

export interface Authenticated {
  readonly device: Device
  /** The end of the key, milliseconds since the epoch; null when it has none. */
  readonly expiresAt: number | null
}

export interface AuthenticationOptions {
  readonly db: RegistryDb
  readonly rows: DeviceRows
  readonly cache: DeviceCache
  readonly lastSeen: LastSeen
  /** Milliseconds since the epoch. */
  readonly now: () => number
}

/** @param logFields which key it is, where the registry knows it. */
const invalidKey = (logFields: Readonly<Record<string, unknown>> = {}) =>
  new AppError('UNAUTHORIZED', 'The API key is not valid.', { logFields })

/** Made once: to build it took half of the time of a key that is read alone. */
const statementOf = (db: RegistryDb) =>
  db
    .select({ device: deviceColumns, credential: credentials })
    .from(credentials)
    .innerJoin(devices, eq(devices.id, credentials.deviceId))
    .where(sql`${credentials.keyHash} in (select value from json_each(${sql.placeholder('keyHashes')}))`)
    .prepare()

export class Authentication {
  readonly #options: AuthenticationOptions
  readonly #statement: ReturnType<typeof statementOf>
  /** Reads the keys that come in one turn of the event loop with one statement: the statement costs more than its rows. */
  readonly #reader = new DataLoader<string, KnownKey>((keyHashes) => this.#read(keyHashes), {
    cache: false,
    batchScheduleFn: setImmediate,
  })

  constructor(options: AuthenticationOptions) {
    this.#options = options
    this.#statement = statementOf(options.db)
  }

  /** @throws {AppError} UNAUTHORIZED for an unknown, expired or revoked key, FORBIDDEN for an inactive device. */
  async authenticate(apiKey: string): Promise<Authenticated> {
    if (!looksLikeKey(apiKey)) throw invalidKey()
    const { cache, lastSeen, now } = this.#options
    const at = now()
    const keyHash = digestKey(apiKey)
    const known = cache.key(keyHash) ?? (await this.#reader.load(keyHash))
    if (known.expiresAt !== null && known.expiresAt <= at)
      throw invalidKey({ device_id: known.device.id, prefix: keyPrefix(apiKey), why: 'expired' })
    if (known.device.status === 'inactive')
      throw new AppError('FORBIDDEN', 'The device is inactive: an operator has to activate it.', {
        logFields: { device_id: known.device.id, prefix: keyPrefix(apiKey), why: 'inactive' },
      })
    lastSeen.keyUsed(known.credentialId, at, known.lastUsedAt)
    return { device: lastSeen.applyTo(known.device), expiresAt: known.expiresAt }
  }

  /** @returns for each hash its key, or the error UNAUTHORIZED for one that is unknown or revoked. */
  async #read(keyHashes: readonly string[]): Promise<(KnownKey | AppError)[]> {
    const { rows, cache } = this.#options
    const { generation } = cache
    const found = await this.#statement.all({ keyHashes: JSON.stringify(keyHashes) })
    const rowOf = new Map(found.map((row) => [row.credential.keyHash, row]))
    return keyHashes.map((keyHash) => {
      const row = rowOf.get(keyHash)
      if (row === undefined || row.credential.revokedAt !== null) {
        cache.removeKey(keyHash)
        const known = row && { device_id: row.device.id, prefix: row.credential.keyPrefix, why: 'revoked' }
        return invalidKey(known)
      }
      const { id: credentialId, expiresAt, lastUsedAt } = row.credential
      const known = { device: rows.toDevice(row.device), credentialId, expiresAt, lastUsedAt }
      cache.addKey(keyHash, known, generation)
      return known
    })
  }
}
