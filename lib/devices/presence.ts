/**
 * Presence over MQTT: what devices and their wills say of themselves, and the sessions the broker tells of. Events may come
 * twice, late and in any order; each is one conditional write that leaves the newest state.
 */
import { sql } from 'drizzle-orm'
import type { RegistryDb } from '../registry/db.ts'
import type { DeviceEvent } from './devices.ts'

/** A broker's lifecycle event of one connection. */
export interface SessionEvent {
  readonly deviceId: number
  readonly clientId: string
  /** Given by the broker to one connection: its begin and its end share it. */
  readonly sessionId: string
  /** Higher for each connection of the same client id; it begins anew when the client was away for about an hour. */
  readonly version: number
  readonly kind: 'connected' | 'disconnected'
  /** Milliseconds since the epoch, by the broker's clock. */
  readonly at: number
  /** Why it ended, in the broker's words. */
  readonly reason?: string | undefined
}

/** A message on one of the status topics. */
export interface StatusReport {
  readonly deviceId: number
  readonly clientId: string
  readonly status: 'online' | 'offline'
  /** Milliseconds since the epoch: its arrival. */
  readonly at: number
}

export interface Presence {
  session(event: SessionEvent): Promise<void>
  report(report: StatusReport): Promise<void>
  /** The last client ids of a device, each with whether its session is open as far as is known. */
  clients(deviceId: number): Promise<Map<string, boolean>>
  /** The broker has started anew: no session from before is open. */
  reset(at: number): Promise<void>
}

/** Versions begin anew after about an hour without a connection: what comes so much later is newer, whatever its version. */
const versionResetMs = 50 * 60_000
/** A will that is published when its client comes back over another connection says nothing of the new one. */
const takeoverMs = 5000
/** Of a device, that are ended together. */
const maxClients = 200

export function createPresence(options: {
  db: RegistryDb
  /** Called after a change, with the device's id. */
  changed: (deviceId: number) => void
}): Presence {
  const { db, changed } = options

  /** Notes an event only when the newest one of its kind says something else. @param when by default: after a change. */
  const note = (
    deviceId: number,
    kind: DeviceEvent['kind'],
    at: number,
    detail: object,
    when = sql`changes() > 0`,
  ) =>
    db.run(sql`insert into events (device_id, kind, detail, at)
      select ${deviceId}, ${kind}, ${JSON.stringify(detail)}, ${at}
      where ${when} and exists (select 1 from devices where id = ${deviceId})
        and coalesce((select kind from events where device_id = ${deviceId} and kind in ('online', 'offline')
                      order by id desc limit 1), '') <> ${kind}`)

  return {
    async session({ deviceId, clientId, sessionId, version, kind, at, reason }) {
      const why = { by: 'broker', client_id: clientId, ...(reason === undefined ? {} : { reason }) }
      const endedAt = kind === 'connected' ? null : at
      const insert = sql`insert into sessions (device_id, client_id, session_id, version, since, ended_at)
        select ${deviceId}, ${clientId}, ${sessionId}, ${version}, ${at}, ${endedAt}
        where exists (select 1 from devices where id = ${deviceId})
        on conflict do update set session_id = excluded.session_id, version = excluded.version,
          ended_at = excluded.ended_at,
          since = iif(excluded.session_id = sessions.session_id, sessions.since, excluded.since)`
      const isNewer = sql`excluded.session_id <> sessions.session_id and (
        excluded.version > sessions.version and excluded.since > sessions.since - ${versionResetMs}
        or excluded.since > coalesce(sessions.ended_at, sessions.since) + ${versionResetMs})`
      if (kind === 'connected') {
        await db.batch([
          db.run(sql`${insert} where ${isNewer}`),
          note(deviceId, 'online', at, why),
          // What was told of the session before, and told first, says nothing of this one.
          db.run(sql`update devices set offline_at = ${at - 1}
            where id = ${deviceId} and offline_at between ${at} and ${at + takeoverMs}
              and exists (select 1 from sessions where device_id = ${deviceId} and session_id = ${sessionId}
                          and ended_at is null)`),
        ])
      } else {
        await db.batch([
          // The end may come before the begin: it is kept, so that the begin cannot open the session again.
          db.run(sql`${insert} where ${isNewer}
            or (excluded.session_id = sessions.session_id and sessions.ended_at is null)`),
          db.run(sql`update devices set offline_at = ${at}
            where id = ${deviceId} and changes() > 0 and coalesce(offline_at, 0) < ${at}
              and not exists (select 1 from sessions where device_id = ${deviceId} and ended_at is null)`),
          note(deviceId, 'offline', at, why),
        ])
      }
      changed(deviceId)
    },

    async report({ deviceId, clientId, status, at }) {
      const why = { by: 'device', client_id: clientId }
      if (status === 'online') {
        await db.batch([
          db.run(sql`update devices set last_seen_at = ${at}
            where id = ${deviceId} and coalesce(last_seen_at, 0) < ${at}`),
          // Other signs of life may have been written before; only a report from before its end is out of date.
          note(
            deviceId,
            'online',
            at,
            why,
            sql`exists (select 1 from devices where id = ${deviceId} and coalesce(offline_at, 0) < ${at})`,
          ),
        ])
      } else {
        await db.batch([
          db.run(sql`update devices set offline_at = ${at}
            where id = ${deviceId} and coalesce(offline_at, 0) < ${at}
              and not exists (select 1 from sessions where device_id = ${deviceId} and client_id = ${clientId}
                              and ended_at is null and since > ${at - takeoverMs})`),
          note(deviceId, 'offline', at, why),
        ])
      }
      changed(deviceId)
    },

    async clients(deviceId) {
      const { rows } = await db.run(
        sql`select client_id, ended_at is null as open from sessions where device_id = ${deviceId}
          order by ended_at is not null, ended_at desc limit ${maxClients}`,
      )
      return new Map(rows.map((row) => [String(row.client_id), Number(row.open) === 1]))
    },

    async reset(at) {
      // The broker counts its connections anew, too: any version that it gives is newer.
      await db.run(sql`update sessions set ended_at = coalesce(ended_at, ${at}), version = -1`)
    },
  }
}
