/** The service of devices and their credentials. */
import {
  and,
  desc,
  eq,
  getTableColumns,
  gt,
  isNotNull,
  isNull,
  like,
  lt,
  ne,
  or,
  type SQL,
  sql,
} from 'drizzle-orm'
import { AppError } from '../errors.ts'
import type { Log } from '../log.ts'
import { isUniqueViolation, type RegistryDb } from '../registry/db.ts'
import { configurations, credentials, devices, events, sessions } from '../registry/schema.ts'
import { digestKey, keyPrefix, looksLikeKey, mintKey } from './credentials.ts'
import {
  type Device,
  type DeviceChange,
  type DeviceStatus,
  iso,
  maxSessionMs,
  type NewDevice,
} from './device.ts'

/** An API key as operators see it: never the key itself. */
export interface Credential {
  readonly keyPrefix: string
  /** Milliseconds since the epoch, as all times here. */
  readonly createdAt: number
  readonly expiresAt: number | null
  readonly lastUsedAt: number | null
  readonly revokedAt: number | null
}

/** Something that happened to a device. */
export interface DeviceEvent {
  readonly id: number
  readonly kind:
    | 'registered'
    | 'updated'
    | 'status'
    | 'key_rotated'
    | 'key_revoked'
    | 'configuration'
    | 'configuration_reported'
    | 'online'
    | 'offline'
  readonly detail: Readonly<Record<string, unknown>> | null
  readonly at: number
}

/** Who made a change, as events tell it. */
export type Actor = 'device' | 'admin'

export interface DeviceQuery {
  readonly status?: DeviceStatus | undefined
  readonly deviceType?: string | undefined
  /** Part of the name, the location or the description; capitals do not matter. */
  readonly q?: string | undefined
  readonly limit: number
  /** Id of the last device of the page before. */
  readonly after?: number | undefined
}

/** The fleet in numbers. */
export interface Summary {
  readonly total: number
  readonly byStatus: Readonly<Record<DeviceStatus, number>>
  readonly byType: Readonly<Record<string, number>>
  readonly online: number
  /** The ten devices that were seen last, newest first. */
  readonly lastSeen: readonly Device[]
}

/** A credential as answers show it. @param now milliseconds since the epoch. */
export const credentialView = (credential: Credential, now: number) => ({
  key_prefix: credential.keyPrefix,
  is_active: credential.revokedAt === null && (credential.expiresAt === null || credential.expiresAt > now),
  created_at: iso(credential.createdAt),
  expires_at: credential.expiresAt === null ? null : iso(credential.expiresAt),
  last_used: credential.lastUsedAt === null ? null : iso(credential.lastUsedAt),
  revoked_at: credential.revokedAt === null ? null : iso(credential.revokedAt),
})

export interface Devices {
  /**
   * Registers a device and mints its first key, which is shown here and never again.
   * @throws {AppError} CONFLICT when the name is taken; the existing device is untouched.
   */
  register(input: NewDevice): Promise<{ device: Device; apiKey: string }>
  /**
   * The device a key belongs to, and the end of the key: milliseconds since the epoch, null when it has none.
   * @throws {AppError} UNAUTHORIZED for an unknown, expired or revoked key, FORBIDDEN for an inactive device.
   */
  authenticate(apiKey: string): Promise<{ readonly device: Device; readonly expiresAt: number | null }>
  find(id: number): Promise<Device | undefined>
  /** @throws {AppError} NOT_FOUND */
  get(id: number): Promise<Device>
  /** In order of their ids, with how many there are in all. */
  list(query: DeviceQuery): Promise<{ devices: Device[]; total: number }>
  /** @throws {AppError} NOT_FOUND, or CONFLICT when the name is taken. */
  update(id: number, change: DeviceChange, by: Actor): Promise<{ device: Device; before: Device }>
  /**
   * Mints a new key. One other key stays valid until the grace ends: the one that was used to ask, else the newest; all
   * further ones end at once.
   * @param graceS 0–604800
   * @throws {AppError} NOT_FOUND
   */
  rotateKey(
    id: number,
    options: { graceS: number; usedKey?: string; by: Actor },
  ): Promise<{ apiKey: string; previousKeyExpiresAt: number | null; ended: boolean }>
  /** Ends all live keys, or those with this prefix. Answers how many there were. @throws {AppError} NOT_FOUND */
  revokeKeys(id: number, prefix?: string): Promise<number>
  /** Newest first. */
  credentials(id: number): Promise<Credential[]>
  /** Newest first. @param before an event's id: only older ones. */
  events(id: number, options: { limit: number; before?: number | undefined }): Promise<DeviceEvent[]>
  summary(): Promise<Summary>
  /** Deletes the device and all that the registry has of it. @throws {AppError} NOT_FOUND */
  delete(id: number): Promise<Device>
  /** Forgets what it keeps in memory of a device: its row was changed elsewhere. */
  changed(id: number): void
  /** Notes a sign of life; written together with others some seconds later. */
  seen(id: number): void
  /** Writes the signs of life that wait. */
  flush(): Promise<void>
  /** The same where the last one of a device, or use of a key, was written some seconds ago or never. */
  flushDue(): Promise<void>
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
  /** Resolved with it: one promise for all messages costs nothing, one for each as much as the look-up. */
  itself: Promise<Known>
  readonly device: Device
  readonly credentialId: number
  readonly expiresAt: number | null
  readonly until: number
}

const maxCached = 50_000
const flushChunk = 500

/** What `isOnline` says of each row, 0 or 1. */
const isOnlineSql = (now: number, offlineAfterS: number) => sql`(${devices.status} <> 'inactive' and (
  ${now} - coalesce(${devices.lastSeenAt}, 0) < coalesce(${devices.offlineAfterS}, ${offlineAfterS}) * 1000
    and coalesce(${devices.lastSeenAt}, 0) > coalesce(${devices.offlineAt}, 0)
  or exists (select 1 from ${sessions} where ${sessions.deviceId} = ${devices.id} and ${sessions.endedAt} is null
    and ${sessions.since} > coalesce(${devices.offlineAt}, 0) and ${now} - ${sessions.since} < ${maxSessionMs})))`

const invalidKey = () => new AppError('UNAUTHORIZED', 'The API key is not valid.')

/** Devices and credentials of which it is remembered when they were written. */
const maxWritten = 10_000

export function createDevices(options: DevicesOptions): Devices {
  const { db, log, now = Date.now, keyLength, offlineAfterS, cacheMs, flushEveryMs = 5000 } = options
  const byKey = new Map<string, Known>()
  const byId = new Map<number, { device: Device; found: Promise<Device>; until: number }>()
  const lastSeen = new Map<number, number>()
  let unwritten = new Set<number>()
  let lastUsed = new Map<number, number>()
  /** Goes up with each change: what was read before one is not remembered after it. */
  let generation = 0

  /** A device with what its open sessions say. */
  const columns = {
    ...getTableColumns(devices),
    connectedAt: sql<number | null>`(select max(${sessions.since}) from ${sessions}
      where ${sessions.deviceId} = ${devices.id} and ${sessions.endedAt} is null)`,
  }
  type Row = typeof devices.$inferSelect & { connectedAt?: number | null }

  const toDevice = (row: Row): Device => ({
    ...row,
    offlineAfterS: row.offlineAfterS ?? offlineAfterS,
    connectedAt: row.connectedAt ?? null,
  })

  const unknownDevice = () => new AppError('NOT_FOUND', 'There is no such device.')

  const changed = (id: number) => {
    generation += 1
    byId.delete(id)
    for (const [key, known] of byKey) if (known.device.id === id) byKey.delete(key)
  }

  const read = async (id: number): Promise<Device> => {
    const [row] = await db.select(columns).from(devices).where(eq(devices.id, id))
    if (row === undefined) throw unknownDevice()
    return current(toDevice(row))
  }

  const note = (deviceId: number, kind: DeviceEvent['kind'], at: number, detail: object) =>
    db.insert(events).values({ deviceId, kind, at, detail: JSON.stringify(detail) })

  const nameTaken = () =>
    new AppError('CONFLICT', 'A device with this name is registered already.', {
      details: [{ path: 'name', message: 'is taken' }],
    })

  /** A device may have been seen since its row was read. What is kept of it is brought up to date: a copy costs more. */
  const current = (device: Device): Device => {
    const seen = lastSeen.get(device.id)
    if (seen !== undefined && (device.lastSeenAt ?? 0) < seen)
      (device as { lastSeenAt: number | null }).lastSeenAt = seen
    return device
  }

  /** @param readIn the generation when the reading of it began. */
  const remember = <K, V>(cache: Map<K, V>, key: K, value: V, readIn: number) => {
    if (cacheMs === 0 || readIn !== generation) return
    if (cache.size >= maxCached) cache.clear()
    cache.set(key, value)
  }

  const lookUp = async (keyHash: string): Promise<Known | undefined> => {
    const readIn = generation
    const [row] = await db
      .select({ device: columns, credential: credentials })
      .from(credentials)
      .innerJoin(devices, eq(devices.id, credentials.deviceId))
      .where(eq(credentials.keyHash, keyHash))
    if (row === undefined || row.credential.revokedAt !== null) {
      byKey.delete(keyHash)
      return undefined
    }
    const { id: credentialId, expiresAt } = row.credential
    const device = toDevice(row.device)
    const known = { device, credentialId, expiresAt, until: now() + cacheMs } as Known
    known.itself = Promise.resolve(known)
    remember(byKey, keyHash, known, readIn)
    return known
  }

  /** What could not be written waits for the next time. */
  const writeSeen = async () => {
    const [ids, used] = [unwritten, lastUsed]
    unwritten = new Set()
    lastUsed = new Map()
    try {
      await writeThese(ids, [...used])
    } catch (error) {
      unwritten = new Set([...ids, ...unwritten])
      lastUsed = new Map([...used, ...lastUsed])
      throw error
    }
  }
  const writeThese = async (ids: ReadonlySet<number>, used: readonly (readonly [number, number])[]) => {
    const at = now()
    const seen = [...ids].map((id) => [id, lastSeen.get(id) ?? at])
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
    if (written.seen.size + written.used.size > maxWritten)
      for (const map of Object.values(written)) map.clear()
    for (const id of ids) written.seen.set(id, at)
    for (const [id] of used) written.used.set(id, at)
    // What is older than this was written before any row that is still answered from memory was read.
    const settled = at - cacheMs - 2 * flushEveryMs
    for (const [id, when] of lastSeen) if (when < settled && !unwritten.has(id)) lastSeen.delete(id)
  }

  let flushing: Promise<void> | undefined
  /** When it was last written, of devices and of credentials. */
  const written = { seen: new Map<number, number>(), used: new Map<number, number>() }
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

  /** Whose key it is, in memory; undefined when the registry has to be asked. */
  const remembered = (keyHash: string, at: number): Known | undefined => {
    const known = byKey.get(keyHash)
    return known !== undefined && known.until > at ? known : undefined
  }
  const hashOf = (apiKey: string): string => {
    if (!looksLikeKey(apiKey)) throw invalidKey()
    return digestKey(apiKey)
  }
  const use = (known: Known | undefined, at: number): Known => {
    if (known === undefined || (known.expiresAt !== null && known.expiresAt <= at)) throw invalidKey()
    if (known.device.status === 'inactive') {
      throw new AppError('FORBIDDEN', 'The device is inactive: an operator has to activate it.')
    }
    lastUsed.set(known.credentialId, at)
    current(known.device)
    return known
  }

  const findStored = async (id: number): Promise<Device | undefined> => {
    const readIn = generation
    const [row] = await db.select(columns).from(devices).where(eq(devices.id, id))
    if (row === undefined) return undefined
    const device = current(toDevice(row))
    remember(byId, id, { device, found: Promise.resolve(device), until: now() + cacheMs }, readIn)
    return device
  }

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
        if (isUniqueViolation(error)) throw nameTaken()
        throw error
      }
    },

    authenticate(apiKey) {
      const at = now()
      try {
        const keyHash = hashOf(apiKey)
        const known = remembered(keyHash, at)
        if (known === undefined) return lookUp(keyHash).then((found) => use(found, at))
        return use(known, at).itself
      } catch (error) {
        return Promise.reject(error)
      }
    },

    find(id) {
      const cached = byId.get(id)
      if (cached === undefined || cached.until <= now()) return findStored(id)
      current(cached.device)
      return cached.found
    },

    get: read,

    async list({ status, deviceType, q, limit, after }) {
      const part = q === undefined ? undefined : `%${q.replace(/[\\%_]/g, '\\$&')}%`
      const contains = (column: typeof devices.name | typeof devices.location | typeof devices.description) =>
        sql`${like(column, part ?? '')} escape '\\'`
      const filters: (SQL | undefined)[] = [
        status && eq(devices.status, status),
        deviceType === undefined ? undefined : eq(devices.deviceType, deviceType),
        part === undefined
          ? undefined
          : or(contains(devices.name), contains(devices.location), contains(devices.description)),
      ]
      const [rows, [{ total } = { total: 0 }]] = await db.batch([
        db
          .select(columns)
          .from(devices)
          .where(and(...filters, gt(devices.id, after ?? 0)))
          .orderBy(devices.id)
          .limit(limit),
        db
          .select({ total: sql<number>`count(*)` })
          .from(devices)
          .where(and(...filters)),
      ])
      return { devices: rows.map((row) => current(toDevice(row))), total }
    },

    async update(id, change, by) {
      const at = now()
      const before = await read(id)
      const given = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined))
      if (Object.keys(given).length === 0) return { device: before, before }
      try {
        const [row] = await db
          .update(devices)
          .set({ ...given, updatedAt: at })
          .where(eq(devices.id, id))
          .returning()
        if (row === undefined) throw unknownDevice()
      } catch (error) {
        throw isUniqueViolation(error) ? nameTaken() : error
      }
      changed(id)
      const { status, ...rest } = given as DeviceChange
      if (Object.keys(rest).length > 0) await note(id, 'updated', at, { by, fields: Object.keys(rest) })
      if (status !== undefined && status !== before.status)
        await note(id, 'status', at, { by, from: before.status, to: status })
      return { device: await read(id), before }
    },

    async rotateKey(id, { graceS, usedKey, by }) {
      const device = await read(id)
      const apiKey = mintKey(keyLength)
      const at = now()
      const until = at + graceS * 1000
      const live = and(
        eq(credentials.deviceId, id),
        isNull(credentials.revokedAt),
        or(isNull(credentials.expiresAt), gt(credentials.expiresAt, at)),
      )
      const kept =
        usedKey === undefined
          ? sql`(select max(${credentials.id}) from ${credentials} where ${live})`
          : sql`(select ${credentials.id} from ${credentials} where ${credentials.keyHash} = ${digestKey(usedKey)})`
      const [revoked, [previous]] = await db.batch([
        db
          .update(credentials)
          .set({ revokedAt: at })
          .where(and(live, ne(credentials.id, kept)))
          .returning({ id: credentials.id }),
        db
          .update(credentials)
          .set({ expiresAt: sql`min(coalesce(${credentials.expiresAt}, ${until}), ${until})` })
          .where(live)
          .returning({ expiresAt: credentials.expiresAt }),
        db.insert(credentials).values({
          deviceId: device.id,
          keyHash: digestKey(apiKey),
          keyPrefix: keyPrefix(apiKey),
          createdAt: at,
        }),
        note(id, 'key_rotated', at, { by, key_prefix: keyPrefix(apiKey), grace_s: graceS }),
      ])
      changed(id)
      return {
        apiKey,
        previousKeyExpiresAt: previous?.expiresAt ?? null,
        ended: revoked.length > 0 || graceS === 0,
      }
    },

    async revokeKeys(id, prefix) {
      await read(id)
      const at = now()
      const revoked = await db
        .update(credentials)
        .set({ revokedAt: at })
        .where(
          and(
            eq(credentials.deviceId, id),
            isNull(credentials.revokedAt),
            prefix === undefined ? undefined : eq(credentials.keyPrefix, prefix),
          ),
        )
        .returning({ prefix: credentials.keyPrefix })
      changed(id)
      if (revoked.length > 0)
        await note(id, 'key_revoked', at, { key_prefixes: revoked.map((key) => key.prefix) })
      return revoked.length
    },

    credentials: (id) =>
      db
        .select()
        .from(credentials)
        .where(eq(credentials.deviceId, id))
        .orderBy(desc(credentials.id))
        .limit(100),

    async events(id, { limit, before }) {
      const rows = await db
        .select()
        .from(events)
        .where(and(eq(events.deviceId, id), before === undefined ? undefined : lt(events.id, before)))
        .orderBy(desc(events.id))
        .limit(limit)
      return rows.map((row) => ({
        id: row.id,
        kind: row.kind as DeviceEvent['kind'],
        detail: row.detail === null ? null : (JSON.parse(row.detail) as Record<string, unknown>),
        at: row.at,
      }))
    },

    async summary() {
      await flush()
      const [states, types, newest] = await db.batch([
        db
          .select({
            status: devices.status,
            count: sql<number>`count(*)`,
            online: sql<number>`sum(${isOnlineSql(now(), offlineAfterS)})`,
          })
          .from(devices)
          .groupBy(devices.status),
        db
          .select({ type: devices.deviceType, count: sql<number>`count(*)` })
          .from(devices)
          .groupBy(devices.deviceType)
          .orderBy(desc(sql`count(*)`))
          .limit(100),
        db
          .select(columns)
          .from(devices)
          .where(isNotNull(devices.lastSeenAt))
          .orderBy(desc(devices.lastSeenAt))
          .limit(10),
      ])
      const byStatus = { active: 0, inactive: 0, maintenance: 0 }
      for (const { status, count } of states) byStatus[status] = count
      return {
        total: states.reduce((sum, { count }) => sum + count, 0),
        online: states.reduce((sum, { online }) => sum + online, 0),
        byStatus,
        byType: Object.fromEntries(types.map(({ type, count }) => [type, count])),
        lastSeen: newest.map((row) => current(toDevice(row))),
      }
    },

    async delete(id) {
      const device = await read(id)
      // A remote database may not enforce foreign keys for us.
      await db.batch([
        db.delete(events).where(eq(events.deviceId, id)),
        db.delete(sessions).where(eq(sessions.deviceId, id)),
        db.delete(configurations).where(eq(configurations.deviceId, id)),
        db.delete(credentials).where(eq(credentials.deviceId, id)),
        db.delete(devices).where(eq(devices.id, id)),
      ])
      changed(id)
      lastSeen.delete(id)
      unwritten.delete(id)
      return device
    },

    changed,

    seen(id) {
      lastSeen.set(id, now())
      unwritten.add(id)
    },

    flush,

    async flushDue() {
      // What came during one that is under way would not be in it.
      await flushing?.catch(() => {})
      const before = now() - flushEveryMs
      const isDue = (map: ReadonlyMap<number, number>) => (id: number) => (map.get(id) ?? 0) <= before
      if ([...unwritten].some(isDue(written.seen)) || [...lastUsed.keys()].some(isDue(written.used)))
        await flush()
    },

    async close() {
      clearInterval(timer)
      // What came during one that was under way is in the next.
      await flushing?.catch(() => {})
      await flush()
    },
  }
}
