/** Rows of devices: the columns to select, and the way from a row to a {@link Device}. */
import { getTableColumns, type SQL, sql } from 'drizzle-orm'
import { devices, sessions } from '../registry/schema.ts'
import { type Device, type Labels, maxSessionMs } from './device.ts'
import type { LastSeen } from './last-seen.ts'

const {
  nameFolded: _name,
  locationFolded: _location,
  descriptionFolded: _description,
  presence: _presence,
  presenceEvents: _presenceEvents,
  ...ownColumns
} = getTableColumns(devices)

/** The columns of a row; the folded texts are for searches only, the last presence event for {@link Presence}. */
export const writtenColumns = ownColumns

/** The columns of a device, with the begin of its newest open session. */
export const deviceColumns = {
  ...writtenColumns,
  connectedAt: sql<number | null>`(select max(${sessions.since}) from ${sessions}
    where ${sessions.deviceId} = ${devices.id} and ${sessions.endedAt} is null)`,
}

export type DeviceRow = Omit<
  typeof devices.$inferSelect,
  'nameFolded' | 'locationFolded' | 'descriptionFolded' | 'presence' | 'presenceEvents'
> & { readonly connectedAt?: number | null }

/** `isOnline` in SQL: 0 or 1 for a row. @param now milliseconds since the epoch, or an expression for them. */
export const isOnlineSql = (
  now: number | SQL,
  offlineAfterS: number,
) => sql<number>`(${devices.status} <> 'inactive' and (
  ${now} - coalesce(${devices.lastSeenAt}, 0) < coalesce(${devices.offlineAfterS}, ${offlineAfterS}) * 1000
    and coalesce(${devices.lastSeenAt}, 0) > coalesce(${devices.offlineAt}, 0)
  or exists (select 1 from ${sessions} where ${sessions.deviceId} = ${devices.id} and ${sessions.endedAt} is null
    and ${sessions.since} > coalesce(${devices.offlineAt}, 0) and ${now} - ${sessions.since} < ${maxSessionMs})))`

const noLabels: Labels = Object.freeze({})

/** Makes devices of rows: adds the defaults of the settings, and last-seen times that are not written yet. */
export class DeviceRows {
  readonly offlineAfterS: number
  readonly #lastSeen: LastSeen

  /** @param offlineAfterS seconds, for devices without a value of their own. */
  constructor(offlineAfterS: number, lastSeen: LastSeen) {
    this.offlineAfterS = offlineAfterS
    this.#lastSeen = lastSeen
  }

  toDevice(row: DeviceRow): Device {
    this.#lastSeen.rowRead(row.id, row.lastSeenAt, row.offlineAt)
    return this.#lastSeen.applyTo({
      ...row,
      labels: row.labels === null ? noLabels : (JSON.parse(row.labels) as Labels),
      offlineAfterS: row.offlineAfterS ?? this.offlineAfterS,
      connectedAt: row.connectedAt ?? null,
    })
  }
}
