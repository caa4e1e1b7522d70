/** Events of devices: the history that operators see. */
import { and, asc, desc, eq, gt, lt, sql } from 'drizzle-orm'
import type { RegistryDb } from '../registry/db.ts'
import { devices, events } from '../registry/schema.ts'

/** Kinds of events. The last two repeat: their repetitions are counted in one row. */
export const eventKinds = [
  'registered',
  'updated',
  'status',
  'key_rotated',
  'key_revoked',
  'key_expiring',
  'key_expired',
  'configuration',
  'configuration_reported',
  'online',
  'offline',
  'warning',
  'login_failed',
] as const

/** One event of a device. */
export interface DeviceEvent {
  readonly id: number
  readonly kind: (typeof eventKinds)[number]
  readonly detail: Readonly<Record<string, unknown>> | null
  /** Milliseconds since the epoch; of an event that repeats, the first time. */
  readonly at: number
  /** Only of an event that repeats: how often it happened, and when last. */
  readonly repeated: { readonly count: number; readonly lastAt: number } | undefined
}

/** An event in a list of several devices. */
export interface FleetEvent extends DeviceEvent {
  readonly deviceId: number
  readonly deviceName: string
}

/** Repetitions of one event of a device, to be added to its row. */
export interface RepeatedEvent {
  readonly deviceId: number
  readonly kind: 'warning' | 'login_failed'
  /** What the repetitions of one row share. It should end with a day or an hour: a row takes all with its key. */
  readonly key: string
  /** The first and the last time, milliseconds since the epoch. */
  readonly at: number
  readonly lastAt: number
  readonly count: number
  /** The newest one wins, except that the `paths` of all repetitions are gathered, up to {@link maxPaths}. */
  readonly detail: Readonly<Record<string, unknown>> & { readonly paths?: readonly string[] }
}

/** Paths in the detail of one event that repeats. */
export const maxPaths = 20

/** Age at which events that repeat, and those of presence, are deleted, ms. */
export const eventsMs = 30 * 86_400_000

/** Who made a change, as events show it. */
export type Actor = 'device' | 'admin'

/** The statement that writes an event; to be awaited, or to be part of a batch. @param at milliseconds since the epoch. */
export const insertEvent = (
  db: RegistryDb,
  deviceId: number,
  kind: DeviceEvent['kind'],
  at: number,
  detail: object,
) => db.insert(events).values({ deviceId, kind, at, detail: JSON.stringify(detail) })

/** Rows of one statement. */
const rowsPerWrite = 500

/** Adds the paths of the new row to those of the stored one, in the order in which they came. */
const gatheredPaths = sql`(select json_group_array(path) from (
  select path from (
    select value as path, key as place from json_each(events.detail, '$.paths')
    union all select value, ${maxPaths} + key from json_each(excluded.detail, '$.paths'))
  group by path order by min(place) limit ${maxPaths}))`

/** Adds repetitions to the events of their devices: one statement for up to 500 of them. Those of deleted devices are left out. */
export async function countEvents(db: RegistryDb, events: readonly RepeatedEvent[]): Promise<void> {
  for (let from = 0; from < events.length; from += rowsPerWrite) {
    const rows = JSON.stringify(events.slice(from, from + rowsPerWrite))
    await db.run(sql`insert into events (device_id, kind, key, at, last_at, count, detail)
      select value ->> 'deviceId', value ->> 'kind', value ->> 'key', value ->> 'at', value ->> 'lastAt',
        value ->> 'count', value ->> 'detail'
      from json_each(${rows}) where exists (select 1 from devices where id = value ->> 'deviceId')
      on conflict (device_id, kind, key) where key is not null do update set
        count = events.count + excluded.count,
        last_at = max(events.last_at, excluded.last_at),
        detail = iif(excluded.detail -> '$.paths' is null, excluded.detail,
          json_set(excluded.detail, '$.paths', json(${gatheredPaths})))`)
  }
}

/** The events of a device, newest first. @param options `before`: the id of an event; only older ones are listed. */
export async function listEvents(
  db: RegistryDb,
  deviceId: number,
  { limit, before }: { limit: number; before?: number | undefined },
): Promise<DeviceEvent[]> {
  const rows = await db
    .select()
    .from(events)
    .where(and(eq(events.deviceId, deviceId), before === undefined ? undefined : lt(events.id, before)))
    .orderBy(desc(events.id))
    .limit(limit)
  return rows.map(toEvent)
}

/** The newest events of all devices, newest first. */
export async function newestEvents(db: RegistryDb, limit: number): Promise<FleetEvent[]> {
  return toFleetEvents(await selectFleetEvents(db).orderBy(desc(events.id)).limit(limit))
}

/** The events of all devices behind an id, oldest first. Repetitions of an event that is known have no id of their own. */
export async function eventsAfter(db: RegistryDb, id: number, limit: number): Promise<FleetEvent[]> {
  const rows = await selectFleetEvents(db).where(gt(events.id, id)).orderBy(asc(events.id)).limit(limit)
  return toFleetEvents(rows)
}

/** The largest id of an event; 0 while there is none. */
export async function newestEventId(db: RegistryDb): Promise<number> {
  const [row] = await db.select({ id: sql<number | null>`max(${events.id})` }).from(events)
  return row?.id ?? 0
}

const selectFleetEvents = (db: RegistryDb) =>
  db
    .select({ event: events, deviceName: devices.name })
    .from(events)
    .innerJoin(devices, eq(devices.id, events.deviceId))

const toFleetEvents = (rows: readonly { event: EventRow; deviceName: string }[]): FleetEvent[] =>
  rows.map(({ event, deviceName }) => ({ ...toEvent(event), deviceId: event.deviceId, deviceName }))

type EventRow = typeof events.$inferSelect

const toEvent = ({ id, kind, detail, at, count, lastAt }: EventRow): DeviceEvent => ({
  id,
  kind: kind as DeviceEvent['kind'],
  detail: detail === null ? null : (JSON.parse(detail) as Record<string, unknown>),
  at,
  repeated: lastAt === null ? undefined : { count, lastAt },
})
