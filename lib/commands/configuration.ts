/**
 * Configuration of a device: the desired one as a whole, with a version that each change raises. It is published retained,
 * and the device reports the version it runs.
 */
import { and, eq, sql } from 'drizzle-orm'
import { AppError } from '../errors.ts'
import type { Log } from '../log.ts'
import { deviceTopics } from '../mqtt/topics.ts'
import type { RegistryDb } from '../registry/db.ts'
import { configurations, events } from '../registry/schema.ts'
import type { Messenger } from './messenger.ts'

export const dataTypes = ['string', 'integer', 'float', 'boolean', 'json'] as const
export type DataType = (typeof dataTypes)[number]

export interface Entry {
  readonly value: unknown
  readonly data_type: DataType
  /** ISO 8601. */
  readonly updated_at: string
}

export interface Configuration {
  /** 0: there has never been one. */
  readonly version: number
  readonly entries: Readonly<Record<string, Entry>>
  /** What the device says it runs; null when it never said. */
  readonly reportedVersion: number | null
  /** Milliseconds since the epoch. */
  readonly reportedAt: number | null
}

/** Changes by key; null deletes one. */
export type Changes = Readonly<Record<string, { value: unknown; dataType: DataType } | null>>

/** What can be done without a broker. */
export interface ConfigurationStore {
  read(deviceId: number): Promise<Configuration>
  /** Notes what the device runs; a version that is not ours, or older than noted, is left out. */
  report(deviceId: number, version: number, at: number): Promise<void>
}

export interface Configurations {
  /**
   * Applies the changes as one, raises the version and publishes the whole.
   * @param ifVersion the version the change was made from; undefined: whichever it is.
   * @throws {AppError} PRECONDITION_FAILED for another version, VALIDATION_FAILED above 128 keys, NOT_FOUND
   */
  change(
    deviceId: number,
    changes: Changes,
    options: { by: 'device' | 'admin'; ifVersion?: number | undefined },
  ): Promise<Configuration & { published: boolean }>
  /** Publishes every configuration again, for a broker that keeps nothing. */
  republish(): Promise<number>
  /** Takes the retained configuration and status of a deleted device from the broker. */
  clear(deviceId: number): Promise<void>
}

/** Keys of one device. */
export const maxKeys = 128
/** Of the document as it is published: what AWS IoT Core takes as one message. */
const maxDocumentBytes = 128 * 1024
/** Tries of a change without a version when others change it at the same time. */
const maxTries = 20

/**
 * The value in the form of its type; undefined when it does not fit. Text is taken for numbers, truth values and JSON, as
 * devices and forms send it.
 */
export function typedValue(value: unknown, dataType: DataType): unknown {
  const parsed = (): unknown => {
    if (typeof value !== 'string') return value
    try {
      return JSON.parse(value) as unknown
    } catch {
      return undefined
    }
  }
  const whole = parsed()
  switch (dataType) {
    case 'string':
      return typeof value === 'string' ? value : undefined
    case 'integer':
      return Number.isSafeInteger(whole) ? whole : undefined
    case 'float':
      return typeof whole === 'number' && Number.isFinite(whole) ? whole : undefined
    case 'boolean':
      return typeof whole === 'boolean' ? whole : undefined
    case 'json':
      return whole
  }
}

/** The type a value has by itself. */
export function dataTypeOf(value: unknown): DataType {
  if (typeof value === 'string') return 'string'
  if (typeof value === 'boolean') return 'boolean'
  if (typeof value === 'number') return Number.isSafeInteger(value) ? 'integer' : 'float'
  return 'json'
}

const empty: Configuration = { version: 0, entries: {}, reportedVersion: null, reportedAt: null }

const toConfiguration = (row: typeof configurations.$inferSelect): Configuration => ({
  version: row.version,
  entries: JSON.parse(row.document) as Record<string, Entry>,
  reportedVersion: row.reportedVersion,
  reportedAt: row.reportedAt,
})

const iso = (ms: number) => new Date(ms).toISOString().replace('.000Z', 'Z')

/** Values by key, as devices get them. */
export const valuesOf = (entries: Configuration['entries']): Record<string, unknown> =>
  Object.fromEntries(Object.entries(entries).map(([key, { value }]) => [key, value]))

/** As it is published. */
const documentOf = (version: number, entries: Configuration['entries']): string =>
  JSON.stringify({ version, configuration: valuesOf(entries) })

/** A configuration as answers show it. */
export const configurationView = ({ version, entries, reportedVersion, reportedAt }: Configuration) => ({
  version,
  reported_version: reportedVersion,
  reported_at: reportedAt === null ? null : iso(reportedAt),
  configuration: entries,
})

export function createConfigurationStore({ db }: { db: RegistryDb }): ConfigurationStore {
  return {
    async read(deviceId) {
      const [row] = await db.select().from(configurations).where(eq(configurations.deviceId, deviceId))
      return row === undefined ? empty : toConfiguration(row)
    },

    async report(deviceId, version, at) {
      await db.batch([
        db.run(sql`update configurations set reported_version = ${version}, reported_at = ${at}
          where device_id = ${deviceId} and ${version} <= version and ${version} >= 0
            and coalesce(reported_at, 0) <= ${at}`),
        db.run(sql`insert into ${events} (device_id, kind, detail, at)
          select ${deviceId}, 'configuration_reported', ${JSON.stringify({ version })}, ${at} where changes() > 0`),
      ])
    },
  }
}

export function createConfigurations(options: {
  db: RegistryDb
  /** Undefined where there is no broker. */
  messenger: Messenger | undefined
  log: Log
  now?: () => number
}): Configurations {
  const { db, messenger, log, now = Date.now } = options
  const { read } = createConfigurationStore({ db })

  /** Resolves to false when the broker has not taken it; a publish that was overtaken is repeated with the newest. */
  const publish = async (deviceId: number): Promise<boolean> => {
    if (messenger === undefined) return false
    try {
      for (let last = -1; ; ) {
        const { version, entries } = await read(deviceId)
        if (version === last || version === 0) return true
        const payload = documentOf(version, entries)
        await messenger.publish({ topic: deviceTopics(deviceId).configSubscribe, payload, retain: true })
        last = version
      }
    } catch (error) {
      log.warn('configuration could not be published', { device_id: deviceId, error })
      return false
    }
  }

  const apply = (before: Configuration, changes: Changes): Record<string, Entry> => {
    const entries = new Map(Object.entries(before.entries))
    for (const [key, change] of Object.entries(changes)) {
      if (change === null) entries.delete(key)
      else {
        const updated_at = iso(now())
        entries.set(key, { value: change.value, data_type: change.dataType, updated_at })
      }
    }
    if (entries.size > maxKeys) {
      throw new AppError('VALIDATION_FAILED', `A device has at most ${maxKeys} configuration keys.`, {
        details: [{ path: '', message: `makes ${entries.size} keys: at most ${maxKeys} are kept` }],
      })
    }
    const after = Object.fromEntries(entries)
    const bytes = Buffer.byteLength(documentOf(before.version + 1, after))
    if (bytes > maxDocumentBytes) {
      throw new AppError(
        'VALIDATION_FAILED',
        'The configuration is too large for one message to the device.',
        {
          details: [
            { path: '', message: `makes ${bytes} bytes: at most ${maxDocumentBytes} reach a device` },
          ],
        },
      )
    }
    return after
  }

  /** Writes the next version; false when another change came first. */
  const write = async (deviceId: number, version: number, document: string, detail: string, at: number) => {
    const [, changed] = await db.batch([
      db.run(sql`insert into configurations (device_id, version, document)
        select id, 0, '{}' from devices where id = ${deviceId} on conflict do nothing`),
      db
        .update(configurations)
        .set({ version: version + 1, document })
        .where(and(eq(configurations.deviceId, deviceId), eq(configurations.version, version)))
        .returning({ version: configurations.version }),
      db.run(sql`insert into ${events} (device_id, kind, detail, at)
        select ${deviceId}, 'configuration', ${detail}, ${at} where changes() > 0`),
    ])
    return changed.length > 0
  }

  return {
    async change(deviceId, changes, { by, ifVersion }) {
      for (let tries = 0; tries < maxTries; tries += 1) {
        const before = await read(deviceId)
        if (ifVersion !== undefined && ifVersion !== before.version) {
          throw new AppError('PRECONDITION_FAILED', `The configuration has version ${before.version} by now.`)
        }
        const entries = apply(before, changes)
        const detail = JSON.stringify({ by, version: before.version + 1, keys: Object.keys(changes) })
        if (await write(deviceId, before.version, JSON.stringify(entries), detail, now())) {
          return { ...before, version: before.version + 1, entries, published: await publish(deviceId) }
        }
        const [device] = await db.all<{ id: number }>(sql`select id from devices where id = ${deviceId}`)
        if (device === undefined) throw new AppError('NOT_FOUND', 'There is no such device.')
      }
      throw new AppError('UNAVAILABLE', 'The configuration is being changed by others: try again.', {
        retryAfterS: 1,
      })
    },

    async republish() {
      const rows = await db.select({ deviceId: configurations.deviceId }).from(configurations)
      for (const { deviceId } of rows) await publish(deviceId)
      return rows.length
    },

    async clear(deviceId) {
      const { configSubscribe, statusOnline, statusOffline, statusHeartbeat } = deviceTopics(deviceId)
      for (const topic of [configSubscribe, statusOnline, statusOffline, statusHeartbeat])
        await messenger?.publish({ topic, payload: '', retain: true })
    },
  }
}
