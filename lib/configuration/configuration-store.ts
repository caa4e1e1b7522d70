/** Configurations in the registry: one row a device, whose version tells whether somebody else changed it meanwhile. */
import { and, eq, sql } from 'drizzle-orm'
import { boundEvents } from '../registry/bounded-events.ts'
import type { RegistryDb } from '../registry/db.ts'
import { configurations, events } from '../registry/schema.ts'
import type { Configuration, ConfigurationStore, Entry } from './configurations.ts'

const noConfiguration: Configuration = { version: 0, entries: {}, reportedVersion: null, reportedAt: null }

const toConfiguration = (row: typeof configurations.$inferSelect): Configuration => ({
  version: row.version,
  entries: JSON.parse(row.document) as Record<string, Entry>,
  reportedVersion: row.reportedVersion,
  reportedAt: row.reportedAt,
})

export function createConfigurationStore({ db }: { db: RegistryDb }): ConfigurationStore {
  return {
    async read(deviceId) {
      const [row] = await db.select().from(configurations).where(eq(configurations.deviceId, deviceId))
      return row === undefined ? noConfiguration : toConfiguration(row)
    },

    async versions(deviceIds) {
      const rows = await db
        .select({
          deviceId: configurations.deviceId,
          version: configurations.version,
          reportedVersion: configurations.reportedVersion,
        })
        .from(configurations)
        .where(sql`${configurations.deviceId} in (select value from json_each(${JSON.stringify(deviceIds)}))`)
      return new Map(rows.map(({ deviceId, ...versions }) => [deviceId, versions]))
    },

    async report(deviceId, version, at) {
      await db.batch([
        db.run(sql`update configurations set reported_version = ${version}, reported_at = ${at}
          where device_id = ${deviceId} and ${version} <= version and ${version} >= 0
            and coalesce(reported_at, 0) <= ${at}`),
        db.run(sql`insert into ${events} (device_id, kind, detail, at)
          select ${deviceId}, 'configuration_reported', ${JSON.stringify({ version })}, ${at} where changes() > 0`),
        boundEvents(db, deviceId, 'configuration_reported'),
      ])
    },
  }
}

export interface NextVersion {
  readonly deviceId: number
  /** The version that this one replaces. */
  readonly replaces: number
  readonly entries: Readonly<Record<string, Entry>>
  /** Why, for the event. */
  readonly detail: object
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** Writes the next version and its event. @returns false when another change came first, or there is no such device. */
export async function writeNextVersion(
  db: RegistryDb,
  { deviceId, replaces, entries, detail, at }: NextVersion,
): Promise<boolean> {
  const [, updated] = await db.batch([
    db.run(sql`insert into configurations (device_id, version, document)
      select id, 0, '{}' from devices where id = ${deviceId} on conflict do nothing`),
    db
      .update(configurations)
      .set({ version: replaces + 1, document: JSON.stringify(entries) })
      .where(and(eq(configurations.deviceId, deviceId), eq(configurations.version, replaces)))
      .returning({ version: configurations.version }),
    db.run(sql`insert into ${events} (device_id, kind, detail, at)
      select ${deviceId}, 'configuration', ${JSON.stringify(detail)}, ${at} where changes() > 0`),
    boundEvents(db, deviceId, 'configuration'),
  ])
  return updated.length > 0
}

/** The devices that have a configuration. */
export async function configuredDevices(db: RegistryDb): Promise<number[]> {
  const rows = await db.select({ deviceId: configurations.deviceId }).from(configurations)
  return rows.map(({ deviceId }) => deviceId)
}
