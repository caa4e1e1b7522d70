/** Deletes what the registry keeps of devices only for a time: events that come by themselves, old sessions, ended keys. */
import { setImmediate as turn } from 'node:timers/promises'
import { type SQL, sql } from 'drizzle-orm'
import type { RegistryDb } from '../registry/db.ts'
import { forgottenBefore } from './deleted-devices.ts'
import { eventsMs } from './events.ts'

export interface DeviceRetentionOptions {
  readonly db: RegistryDb
  /** Retention of telemetry, ms; 0 keeps it, and the ids of deleted devices, for ever. */
  readonly telemetryMs: number
  /** Milliseconds since the epoch. */
  readonly now?: () => number
}

/** Age of the end of a session at which it is deleted, ms. */
const sessionsMs = 30 * 86_400_000
/** Age at which a key that was revoked or has expired is deleted, ms. */
const endedKeysMs = 90 * 86_400_000
/** Rows that one statement deletes. */
const rowsPerStatement = 500
/** Deleted devices that one statement forgets: each may have 1,000 names. */
const devicesToForget = 20
/** Devices whose sessions and keys one statement looks at: about 5 ms on a file, during which requests wait. */
const devicesPerStatement = 5000

export class DeviceRetention {
  readonly #options: DeviceRetentionOptions
  /** Where the last run had to end: the next one does not begin with the same devices again. */
  #after = 0

  constructor(options: DeviceRetentionOptions) {
    this.#options = options
  }

  /**
   * @param until by performance.now(): a run that is not ready by then goes on with the next call.
   * @returns whether everything is deleted that is too old.
   */
  async run(until: number): Promise<boolean> {
    const { now = Date.now, telemetryMs } = this.#options
    const at = now()
    const events = (condition: SQL) => sql`delete from events where id in (
      select id from events where ${condition} and at < ${at - eventsMs} limit ${rowsPerStatement})`
    const isReady =
      (await this.#repeat(events(sql`key is not null`), until)) &&
      (await this.#repeat(events(sql`kind in ('online', 'offline')`), until)) &&
      (await this.#forgetDeleted(forgottenBefore(at, telemetryMs), until))
    return isReady && this.#ofDevices(at, until)
  }

  /** Devices that were deleted without their telemetry, which is gone by now; with the names of their fields. */
  async #forgetDeleted(before: number, until: number): Promise<boolean> {
    const { db } = this.#options
    const some = sql`(select id from deleted_devices where deleted_at < ${before} order by id limit ${devicesToForget})`
    while (performance.now() < until) {
      const [, { rowsAffected }] = await db.batch([
        db.run(sql`delete from field_names where device_id in ${some}`),
        db.run(sql`delete from deleted_devices where id in ${some}`),
      ])
      if (rowsAffected === 0) return true
      await turn()
    }
    return false
  }

  /** Repeats a deletion until it deletes nothing more. @returns whether it came to that. */
  async #repeat(deletion: SQL, until: number): Promise<boolean> {
    while (performance.now() < until) {
      const { rowsAffected } = await this.#options.db.run(deletion)
      if (rowsAffected === 0) return true
      await turn()
    }
    return false
  }

  /** Goes through the ids: no index knows which sessions and keys are old, and each change of one would have to keep it. */
  async #ofDevices(at: number, until: number): Promise<boolean> {
    const { db } = this.#options
    const [{ newest } = { newest: 0 }] = await db.all<{ newest: number }>(
      sql`select coalesce(max(id), 0) as newest from devices`,
    )
    for (; this.#after < newest; this.#after += devicesPerStatement) {
      if (performance.now() >= until) return false
      const ofSome = sql`device_id > ${this.#after} and device_id <= ${this.#after + devicesPerStatement}`
      await db.batch([
        db.run(sql`delete from sessions where ${ofSome} and ended_at < ${at - sessionsMs}`),
        db.run(sql`delete from credentials where ${ofSome}
          and coalesce(revoked_at, ended_at) < ${at - endedKeysMs}`),
      ])
      await turn()
    }
    this.#after = 0
    return true
  }
}
