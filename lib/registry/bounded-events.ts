/** A bound for events that a device can cause as often as it likes. */
import { sql } from 'drizzle-orm'
import type { RegistryDb } from './db.ts'

/** Events of one kind that are kept of a device. */
export const keptOfKind = 200

/**
 * The statement that deletes the oldest events of a kind when there are too many, right behind the statement that has written
 * one; nothing when that has written none.
 */
export const boundEvents = (db: RegistryDb, deviceId: number, kind: string) =>
  db.run(sql`delete from events where changes() > 0 and id in (select id from events
    where device_id = ${deviceId} and kind = ${kind} order by id desc limit -1 offset ${keptOfKind})`)
