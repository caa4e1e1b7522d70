/** SQL of presence: each statement takes the events of many devices, at most one event of each, as rows of JSON. */
import { type SQL, sql } from 'drizzle-orm'
import { maxSessionMs } from './device.ts'
import { isOnlineSql } from './device-rows.ts'

/** An event about one device, as the statements read it. */
export interface PresenceRow {
  readonly device: number
  readonly client: string
  readonly kind: 'connected' | 'disconnected' | 'online' | 'offline'
  /** Milliseconds since the epoch. */
  readonly at: number
  /** 1 when it says that the device is online, else 0. */
  readonly online: 0 | 1
  /** Why, as JSON. */
  readonly detail: string
  /** Of the broker's events only. */
  readonly session?: string
  readonly version?: number
}

/** AWS starts versions again after about an hour without a connection: an event so much later is newer in any case. */
const versionResetMs = 50 * 60_000
/** A will that is published so shortly before or after a new connection belongs to the connection before it. */
const takeoverMs = 5000
/** Client ids of a device that are kept. */
export const maxClients = 200

const field = (name: keyof PresenceRow) => sql.raw(`r.value ->> '${name}'`)
const device = field('device')
const client = field('client')
const session = field('session')
const at = field('at')
const online = field('online')
const isKind = (...kinds: readonly PresenceRow['kind'][]) =>
  sql.raw(`r.value ->> 'kind' in (${kinds.map((kind) => `'${kind}'`).join(', ')})`)

/** The event belongs to a newer session than the stored one. */
const isNewer = sql`excluded.session_id <> sessions.session_id and (
  excluded.version > sessions.version and excluded.since > sessions.since - ${versionResetMs}
  or excluded.since > coalesce(sessions.ended_at, sessions.since) + ${versionResetMs})`

/** It is the end of the stored session. */
const isItsEnd = sql`excluded.session_id = sessions.session_id and excluded.ended_at is not null
  and sessions.ended_at is null`

/** An end may arrive before its begin. It is stored then, so that the begin cannot open the session again. */
const storeSessions = (rows: string) =>
  sql`insert into sessions (device_id, client_id, session_id, version, since, ended_at)
    select ${device}, ${client}, ${session}, ${field('version')}, ${at}, iif(${isKind('connected')}, null, ${at})
    from json_each(${rows}) r
    where ${isKind('connected', 'disconnected')} and exists (select 1 from devices where id = ${device})
    on conflict do update set session_id = excluded.session_id, version = excluded.version,
      ended_at = excluded.ended_at,
      since = iif(excluded.session_id = sessions.session_id, sessions.since, excluded.since)
    where (${isNewer}) or (${isItsEnd})`

/** The will of the previous session may arrive first: it does not make the new session offline. */
const forgiveWills = (rows: string) =>
  sql`update devices set offline_at = ${at} - 1 from json_each(${rows}) r
    where devices.id = ${device} and ${isKind('connected')} and offline_at between ${at} and ${at} + ${takeoverMs}
      and exists (select 1 from sessions where device_id = devices.id and session_id = ${session}
                  and ended_at is null)`

const endPresence = (rows: string) =>
  sql`update devices set offline_at = ${at} from json_each(${rows}) r
    where devices.id = ${device} and ${isKind('disconnected')} and coalesce(offline_at, 0) < ${at}
      and exists (select 1 from sessions where device_id = devices.id and client_id = ${client}
                  and session_id = ${session} and ended_at = ${at})
      and not exists (select 1 from sessions where device_id = devices.id and ended_at is null)`

const see = (rows: string) =>
  sql`update devices set last_seen_at = ${at} from json_each(${rows}) r
    where devices.id = ${device} and ${isKind('online')} and coalesce(last_seen_at, 0) < ${at}`

/** The will of an older session leaves a device online, and so does another session that was open then, also when it is told late. */
const believeOffline = (rows: string) =>
  sql`update devices set offline_at = ${at} from json_each(${rows}) r
    where devices.id = ${device} and ${isKind('offline')} and coalesce(offline_at, 0) < ${at}
      and not exists (select 1 from sessions where device_id = devices.id and (ended_at is null or ended_at > ${at})
        and since > iif(client_id = ${client}, ${at} - ${takeoverMs}, ${at} - ${maxSessionMs}))`

/** The newest presence event of the device says that it is online. */
export const isOnlineBefore = sql`coalesce(devices.presence, 'offline') = 'online'`

/** Devices that an event has brought into the state that it tells, and that were in the other one before. */
const hasChanged = (now: number, offlineAfterS: number) =>
  sql`${isOnlineSql(now, offlineAfterS)} = ${online}
    and (${isOnlineBefore}) <> ${online}`

/**
 * The statements of one transaction, in their order, which bring the state of the devices up to date and write an event for each
 * that has changed.
 * @param now milliseconds since the epoch.
 * @param offlineAfterS for devices without a value of their own.
 */
export function presenceStatements(
  rows: readonly PresenceRow[],
  { now, offlineAfterS }: { readonly now: number; readonly offlineAfterS: number },
): SQL[] {
  const json = JSON.stringify(rows)
  const kinds = new Set(rows.map(({ kind }) => kind))
  const changed = hasChanged(now, offlineAfterS)
  return [
    ...(kinds.has('connected') || kinds.has('disconnected') ? [storeSessions(json)] : []),
    ...(kinds.has('connected') ? [forgiveWills(json)] : []),
    ...(kinds.has('disconnected') ? [endPresence(json)] : []),
    ...(kinds.has('online') ? [see(json)] : []),
    ...(kinds.has('offline') ? [believeOffline(json)] : []),
    sql`insert into events (device_id, kind, detail, at)
      select devices.id, iif(${online}, 'online', 'offline'), ${field('detail')}, ${at}
      from json_each(${json}) r join devices on devices.id = ${device} where ${changed}`,
    sql`update devices set presence = iif(${online}, 'online', 'offline'), presence_events = presence_events + 1
      from json_each(${json}) r where devices.id = ${device} and ${changed}`,
  ]
}

/** Open sessions first, then those that ended last. */
export const newestFirst = sql`ended_at is not null, ended_at desc, since desc`

/** A device may connect under a new client id each time: its oldest sessions give way. @param ids of devices, as JSON. */
export const pruneSessions = (ids: string) =>
  sql`delete from sessions where (device_id, client_id) in (
    select device_id, client_id from (
      select device_id, client_id, row_number() over (partition by device_id order by ${newestFirst}) as place
      from sessions where device_id in (select value from json_each(${ids})))
    where place > ${maxClients})`

/** A device after its events. */
export interface PresenceState {
  readonly id: number
  readonly offlineAt: number | null
  readonly lastSeenAt: number | null
  readonly connectedAt: number | null
  /** 1 when it is not inactive and has a valid key, else 0. */
  readonly mayConnect: 0 | 1
}

/** @param ids of devices, as JSON. */
export const presenceStates = (ids: string, now: number) =>
  sql`select id, offline_at as offlineAt, last_seen_at as lastSeenAt,
      (select max(since) from sessions where device_id = devices.id and ended_at is null) as connectedAt,
      status <> 'inactive' and exists (select 1 from credentials where device_id = devices.id
        and revoked_at is null and (expires_at is null or expires_at > ${now})) as mayConnect
    from devices where id in (select value from json_each(${ids}))`

/** The statements that write down a change to this state. @param condition of the devices that have changed. */
export const changeTo = (
  state: 'online' | 'offline',
  at: SQL | number,
  detail: SQL,
  condition: SQL,
): [SQL, SQL] => [
  sql`insert into events (device_id, kind, detail, at)
    select devices.id, ${state}, ${detail}, ${at} from devices where ${condition}`,
  sql`update devices set presence = ${state}, presence_events = presence_events + 1 where ${condition}`,
]

/**
 * The statements that make the messages of devices that were offline events: the event, then the state.
 * @param ids of devices whose last-seen times were just written, as JSON.
 */
export const cameOnline = (ids: string, offlineAfterS: number): [SQL, SQL] =>
  changeTo(
    'online',
    sql`devices.last_seen_at`,
    sql`'{"by":"traffic"}'`,
    // At the time of its message it was online, also when the write comes late.
    sql`devices.id in (select value from json_each(${ids})) and not ${isOnlineBefore}
      and ${isOnlineSql(sql`devices.last_seen_at`, offlineAfterS)}`,
  )

/** Why devices are offline that no message has made so, as JSON. */
export const whySilent = (now: number, offlineAfterS: number) => {
  const limit = sql`cast(coalesce(devices.offline_after_s, ${offlineAfterS}) as integer)`
  // libSQL binds numbers as floating point, so that the division alone would not round.
  const silent = sql`cast((${now} - coalesce(devices.last_seen_at,
    (select max(since) from sessions where device_id = devices.id), devices.created_at)) / 1000 as integer)`
  return sql`case when devices.status = 'inactive' then json_object('by', 'admin')
    when ${silent} >= ${limit} then json_object('by', 'silence', 'silent_s', ${silent}, 'limit_s', ${limit})
    else json_object('by', 'broker') end`
}
