/**
 * Presence without messages: silence makes a device offline, and no message tells that. A sweep looks at all devices every minute
 * or sooner, in slices, and writes the events that are missing.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import type { RegistryDb } from '../registry/db.ts'
import { isOnlineSql } from './device-rows.ts'
import { changeTo, isOnlineBefore, whySilent } from './presence-statements.ts'

export interface PresenceSweepOptions {
  readonly db: RegistryDb
  /** Seconds; for devices without a value of their own. */
  readonly offlineAfterS: number
  /**
   * Time that a device may be silent for longer than its limit, ms: other processes may have seen it and not have written that
   * yet.
   */
  readonly patienceMs: number
  /** Milliseconds since the epoch. */
  readonly now?: () => number
}

/** Devices of one look: 2,000 take about 3 ms on a file, during which requests wait. */
const devicesPerSlice = 2000
/** Events that are kept of a device when there are too many. */
const keptEvents = 500
/** More events than this are too many: so one deletion takes away a hundred. */
const maxEvents = keptEvents + 100
/** Devices whose events one statement deletes. */
const devicesPerPruning = 20

export class PresenceSweep {
  readonly #options: PresenceSweepOptions

  constructor(options: PresenceSweepOptions) {
    this.#options = options
  }

  /** Writes the missing events of all devices, and deletes those of a device that has too many. @returns how many devices went online or offline. */
  async run(): Promise<number> {
    const { db } = this.#options
    let changed = 0
    for (let after = 0; ; ) {
      const slice = await db.all<{ last: number | null }>(sql`select max(id) as last from (
        select id from devices where id > ${after} order by id limit ${devicesPerSlice})`)
      const last = slice[0]?.last ?? null
      if (last === null) break
      changed += await this.#settle(after, last)
      await this.#boundEvents(after, last)
      after = last
      await turn()
    }
    return changed
  }

  /** Looks before it writes: mostly nothing has changed, and a write waits for the disk. */
  async #settle(after: number, last: number): Promise<number> {
    const { db, offlineAfterS, patienceMs, now = Date.now } = this.#options
    const at = now()
    const inSlice = sql`devices.id > ${after} and devices.id <= ${last}`
    const wentOffline = sql`${inSlice} and ${isOnlineBefore} and not ${isOnlineSql(at - patienceMs, offlineAfterS)}`
    const wentOnline = sql`${inSlice} and not ${isOnlineBefore} and ${isOnlineSql(at, offlineAfterS)}`
    const found = await db.all<{ id: number }>(
      sql`select id from devices where (${wentOffline}) or (${wentOnline})`,
    )
    if (found.length === 0) return 0
    const [offlineEvent, offlineState] = changeTo('offline', at, whySilent(at, offlineAfterS), wentOffline)
    const [onlineEvent, onlineState] = changeTo('online', at, sql`'{"by":"traffic"}'`, wentOnline)
    await db.batch([db.run(offlineEvent), db.run(offlineState), db.run(onlineEvent), db.run(onlineState)])
    return found.length
  }

  /** A device that connects again and again must not fill the table. */
  async #boundEvents(after: number, last: number): Promise<void> {
    const { db } = this.#options
    const found = await db.all<{ id: number }>(sql`select id from devices
      where id > ${after} and id <= ${last} and presence_events > ${maxEvents}`)
    for (let from = 0; from < found.length; from += devicesPerPruning) {
      const ids = JSON.stringify(found.slice(from, from + devicesPerPruning).map(({ id }) => id))
      await db.batch([
        db.run(sql`delete from events where id in (
          select id from (
            select id, row_number() over (partition by device_id order by id desc) as place from events
            where device_id in (select value from json_each(${ids})) and kind in ('online', 'offline'))
          where place > ${keptEvents})`),
        db.run(sql`update devices set presence_events = ${keptEvents}
          where id in (select value from json_each(${ids}))`),
      ])
      await turn()
    }
  }
}
