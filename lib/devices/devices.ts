/** The service of devices and their credentials. */
import { eq, sql } from 'drizzle-orm'
import { AppError } from '../errors.ts'
import type { Log } from '../log.ts'
import { isUniqueViolation, type RegistryDb } from '../registry/db.ts'
import { credentials, devices, events } from '../registry/schema.ts'
import { digestKey, keyPrefix, looksLikeKey, mintKey } from './credentials.ts'
import type { Device, NewDevice } from './device.ts'

export interface Devices {
  /**
   * Registers a device and mints its first key, which is shown here and never again.
   * @throws {AppError} CONFLICT when the name is taken; the existing device is untouched.
   */
  register(input: NewDevice): Promise<{ device: Device; apiKey: string }>
  /**
   * The device a key belongs to.
   * @throws {AppError} UNAUTHORIZED for an unknown, expired or revoked key, FORBIDDEN for an inactive device.
   */
  authenticate(apiKey: string): Promise<Device>
  find(id: number): Promise<Device | undefined>
  /** Notes a sign of life; written together with others some seconds later. */
  seen(id: number): void
  /** Writes the signs of life that wait. */
  flush(): Promise<void>
  close(): Promise<void>
}

export interface DevicesOptions {
  db: RegistryDb
  log: Log
  /** Milliseconds since the epoch. */
  now?: () => number
  /** Characters of a new key, 24–64. */
  keyLength: number
  /** Seconds; for devices without a value of their own. */
  offlineAfterS: number
  /**
   * How long a device may be answered from memory, ms; 0 asks the registry each time. Every change made through this
   * service is seen at once; the time bounds how late a change by another process is.
   */
  cacheMs: number
  /** How often signs of life are written, ms. */
  flushEveryMs?: number
}

interface Known {
  readonly device: Device
  readonly credentialId: number
  readonly expiresAt: number | null
  readonly until: number
}

const maxCached = 50_000
const flushChunk = 500

const invalidKey = () => new AppError('UNAUTHORIZED', 'The API key is not valid.')

export function createDevices(options: DevicesOptions): Devices {
  const { db, log, now = Date.now, keyLength, offlineAfterS, cacheMs, flushEveryMs = 5000 } = options
  const byKey = new Map<string, Known>()
  const byId = new Map<number, { device: Device; until: number }>()
  const lastSeen = new Map<number, number>()
  let unwritten = new Set<number>()
  let lastUsed = new Map<number, number>()

  const toDevice = (row: typeof devices.$inferSelect): Device => ({
    ...row,
    offlineAfterS: row.offlineAfterS ?? offlineAfterS,
  })

  /** A device may have been seen since its row was read. */
  const current = (device: Device): Device => {
    const seen = lastSeen.get(device.id)
    return seen === undefined || (device.lastSeenAt ?? 0) >= seen ? device : { ...device, lastSeenAt: seen }
  }

  const remember = <K, V>(cache: Map<K, V>, key: K, value: V) => {
    if (cacheMs === 0) return
    if (cache.size >= maxCached) cache.clear()
    cache.set(key, value)
  }

  const lookUp = async (keyHash: string): Promise<Known | undefined> => {
    const cached = byKey.get(keyHash)
    if (cached && cached.until > now()) return cached
    const [row] = await db
      .select({ device: devices, credential: credentials })
      .from(credentials)
      .innerJoin(devices, eq(devices.id, credentials.deviceId))
      .where(eq(credentials.keyHash, keyHash))
    if (row === undefined || row.credential.revokedAt !== null) {
      byKey.delete(keyHash)
      return undefined
    }
    const { id: credentialId, expiresAt } = row.credential
    const known = { device: toDevice(row.device), credentialId, expiresAt, until: now() + cacheMs }
    remember(byKey, keyHash, known)
    return known
  }

  const writeSeen = async () => {
    const at = now()
    const seen = [...unwritten].map((id) => [id, lastSeen.get(id) ?? at])
    const used = [...lastUsed]
    unwritten = new Set()
    lastUsed = new Map()
    for (let from = 0; from < Math.max(seen.length, used.length); from += flushChunk) {
      const seenPart = JSON.stringify(seen.slice(from, from + flushChunk))
      const usedPart = JSON.stringify(used.slice(from, from + flushChunk))
      await db.batch([
        db.run(sql`update devices set last_seen_at = j.value ->> 1 from json_each(${seenPart}) as j
          where devices.id = j.value ->> 0 and coalesce(last_seen_at, 0) < j.value ->> 1`),
        db.run(sql`update credentials set last_used_at = j.value ->> 1 from json_each(${usedPart}) as j
          where credentials.id = j.value ->> 0 and coalesce(last_used_at, 0) < j.value ->> 1`),
      ])
    }
    // What is older than this was written before any row that is still answered from memory was read.
    const settled = at - cacheMs - 2 * flushEveryMs
    for (const [id, when] of lastSeen) if (when < settled && !unwritten.has(id)) lastSeen.delete(id)
  }

  let flushing: Promise<void> | undefined
  const flush = () => {
    flushing ??= writeSeen().finally(() => {
      flushing = undefined
    })
    return flushing
  }
  const timer = setInterval(() => {
    if (unwritten.size > 0 || lastUsed.size > 0) {
      flush().catch((error) => log.warn('signs of life could not be written', { error }))
    }
  }, flushEveryMs)
  timer.unref()

  return {
    async register(input) {
      const apiKey = mintKey(keyLength)
      const at = now()
      const ofName = sql`(select id from devices where name = ${input.name})`
      try {
        const [[row]] = await db.batch([
          db
            .insert(devices)
            .values({
              name: input.name,
              deviceType: input.deviceType,
              description: input.description ?? null,
              location: input.location ?? null,
              firmwareVersion: input.firmwareVersion ?? null,
              hardwareVersion: input.hardwareVersion ?? null,
              createdAt: at,
              updatedAt: at,
            })
            .returning(),
          db.insert(credentials).values({
            deviceId: ofName,
            keyHash: digestKey(apiKey),
            keyPrefix: keyPrefix(apiKey),
            createdAt: at,
          }),
          db.insert(events).values({ deviceId: ofName, kind: 'registered', at }),
        ])
        if (row === undefined) throw new AppError('INTERNAL', 'The device was not written.')
        return { device: toDevice(row), apiKey }
      } catch (error) {
        if (isUniqueViolation(error)) {
          throw new AppError('CONFLICT', 'A device with this name is registered already.', {
            details: [{ path: 'name', message: 'is taken' }],
          })
        }
        throw error
      }
    },

    async authenticate(apiKey) {
      if (!looksLikeKey(apiKey)) throw invalidKey()
      const known = await lookUp(digestKey(apiKey))
      const at = now()
      if (known === undefined || (known.expiresAt !== null && known.expiresAt <= at)) throw invalidKey()
      if (known.device.status === 'inactive') {
        throw new AppError('FORBIDDEN', 'The device is inactive: an operator has to activate it.')
      }
      lastUsed.set(known.credentialId, at)
      return current(known.device)
    },

    async find(id) {
      const cached = byId.get(id)
      if (cached && cached.until > now()) return current(cached.device)
      const [row] = await db.select().from(devices).where(eq(devices.id, id))
      if (row === undefined) return undefined
      const device = toDevice(row)
      remember(byId, id, { device, until: now() + cacheMs })
      return current(device)
    },

    seen(id) {
      lastSeen.set(id, now())
      unwritten.add(id)
    },

    flush,

    async close() {
      clearInterval(timer)
      await flush()
    },
  }
}
