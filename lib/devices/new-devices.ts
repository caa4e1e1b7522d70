/** SQL of new devices: each statement writes those of many, with their first keys and events, from rows of JSON. */
import { type SQL, sql } from 'drizzle-orm'
import type { RegistryDb } from '../registry/db.ts'
import { foldedTexts } from '../registry/folded-texts.ts'
import { credentialOf } from './credentials.ts'
import type { Description, DeviceStatus } from './device.ts'
import { type DeviceRow, writtenColumns } from './device-rows.ts'
import type { KeyLife } from './fields.ts'
import { type LabelChange, labelsColumn, labelsOf } from './labels.ts'

/** What is written of a device; undefined for what a new one has by default, and a change leaves as it is. */
export interface WrittenDevice extends Description {
  readonly name: string
  readonly deviceType?: string | undefined
  readonly status?: DeviceStatus | undefined
  readonly offlineAfterS?: number | null | undefined
}

/** A device as statements read it from JSON: by the names of the columns. */
export const columnsOf = (device: WrittenDevice) => {
  const { nameFolded, locationFolded, descriptionFolded } = foldedTexts(device)
  return {
    name: device.name,
    device_type: device.deviceType,
    status: device.status,
    description: device.description,
    location: device.location,
    name_folded: nameFolded,
    location_folded: locationFolded,
    description_folded: descriptionFolded,
    timezone: device.timezone,
    firmware_version: device.firmwareVersion,
    hardware_version: device.hardwareVersion,
    offline_after_s: device.offlineAfterS,
  }
}

/** Columns that may be null. */
export const optionalColumns = [
  'description',
  'location',
  'timezone',
  'firmware_version',
  'hardware_version',
  'offline_after_s',
] as const
/** The forms of texts for searches; see `foldedTexts`. */
export const foldedColumns = ['location_folded', 'description_folded'] as const
const newColumns = ['name_folded', 'labels', ...optionalColumns, ...foldedColumns]

/** A new device with its first key and its first event. */
export interface NewDeviceRow extends ReturnType<typeof columnsOf> {
  /** JSON; null for none. */
  readonly labels: string | null
  readonly key_hash: string
  readonly key_prefix: string
  /** Milliseconds since the epoch. */
  readonly key_expires_at: number | null
  /** Seconds. */
  readonly key_lifetime_s: number | null
  /** Of the event, JSON. */
  readonly detail: string | null
  /** The id of the enrolment key that it registers with. */
  readonly enrollment_key?: number | undefined
}

/** @param key the first key of the device, made at `at`, milliseconds since the epoch; without a life it has no end. */
export const newDeviceRow = (
  device: WrittenDevice & { readonly labels?: LabelChange | null | undefined },
  key: { readonly apiKey: string; readonly at: number; readonly life?: KeyLife | undefined },
  event: Pick<NewDeviceRow, 'detail' | 'enrollment_key'>,
): NewDeviceRow => {
  const { keyHash, keyPrefix, expiresAt, lifetimeS } = credentialOf(key.apiKey, key.at, key.life)
  return {
    ...columnsOf(device),
    labels: labelsColumn(labelsOf(device.labels)),
    key_hash: keyHash,
    key_prefix: keyPrefix,
    key_expires_at: expiresAt,
    key_lifetime_s: lifetimeS,
    ...event,
  }
}

const names = sql.raw(newColumns.join(', '))
const values = sql.raw(newColumns.map((name) => `r.value ->> '${name}'`).join(', '))
const returned = sql.raw(
  Object.entries(writtenColumns)
    .map(([key, { name }]) => `${name} as "${key}"`)
    .join(', '),
)

/** The rows whose devices were made, with their keys: nothing else has the key of a row. @param json of {@link NewDeviceRow}s. */
export const madeRows = (json: string): SQL =>
  sql`json_each(${json}) r join credentials c on c.key_hash = r.value ->> 'key_hash'`

/**
 * The statements that write new devices, for one transaction. The first one returns the devices that were made: a name that is
 * taken is left out. One batch cannot use its earlier answers, so that the keys find their devices by what only new ones lack.
 * @param json of {@link NewDeviceRow}s, each with another name.
 * @param at milliseconds since the epoch.
 */
export const insertDevices = (db: RegistryDb, json: string, at: number) =>
  [
    db.all<DeviceRow>(sql`
      insert into devices (name, device_type, status, ${names}, created_at, updated_at)
      select r.value ->> 'name', r.value ->> 'device_type', coalesce(r.value ->> 'status', 'active'), ${values},
        ${at}, ${at}
      from json_each(${json}) r where true order by r.key
      on conflict (name) do nothing returning ${returned}`),
    db.run(sql`
      insert into credentials (device_id, key_hash, key_prefix, created_at, expires_at, lifetime_s)
      select d.id, r.value ->> 'key_hash', r.value ->> 'key_prefix', ${at}, r.value ->> 'key_expires_at',
        r.value ->> 'key_lifetime_s'
      from json_each(${json}) r join devices d on d.name = r.value ->> 'name'
      where d.created_at = ${at} and not exists (select 1 from credentials where device_id = d.id) order by r.key`),
    db.run(sql`
      insert into events (device_id, kind, detail, at)
      select c.device_id, 'registered', r.value ->> 'detail', ${at} from ${madeRows(json)} order by r.key`),
  ] as const
