/** SQL of a change to many devices: one transaction applies it to a slice of them, wholly or not at all. */
import { type SQL, sql } from 'drizzle-orm'
import { parseSelector, selectorCondition } from '../registry/selector.ts'
import { maxDocumentBytes, maxKeys } from './configurations.ts'

/** Devices of one change. */
export interface DeviceFilter {
  readonly deviceType?: string | undefined
  readonly location?: string | undefined
  /** As `parseSelector` takes it. */
  readonly selector?: string | undefined
  readonly ids?: readonly number[] | undefined
}

export const matches = ({ deviceType, location, selector, ids }: DeviceFilter): SQL => {
  const conditions = [
    ...(deviceType === undefined ? [] : [sql`device_type = ${deviceType}`]),
    ...(location === undefined ? [] : [sql`location = ${location}`]),
    ...(selector === undefined ? [] : [selectorCondition(parseSelector(selector))]),
    ...(ids === undefined ? [] : [sql`id in (select value from json_each(${JSON.stringify(ids)}))`]),
  ]
  return conditions.length === 0 ? sql`true` : sql.join(conditions, sql` and `)
}

/** The whole published message; what stands around the configuration is a few characters. */
const maxConfigurationBytes = maxDocumentBytes - 64

export interface Slice {
  readonly id: number
  /** Of devices, as JSON. */
  readonly deviceIds: string
  /** Entries by key, null for a key to delete, as JSON. */
  readonly changes: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

/**
 * The statements of one transaction. Devices to which the change was applied meanwhile stay as they are, so that two processes
 * may do the same slice.
 */
export function applyToSlice({ id, deviceIds, changes, at }: Slice): SQL[] {
  const inSlice = sql`fleet_configuration_id = ${id} and device_id in (select value from json_each(${deviceIds}))`
  // json_patch would merge values that are objects, and delete what is null in them.
  const merged = sql`(select json_group_object(key, json(entry)) from (
    select key, value as entry from json_each(configurations.document)
      where key not in (select key from json_each(${changes}))
    union all select key, value from json_each(${changes}) where type <> 'null'))`
  const fits = sql`(select count(*) <= ${maxKeys}
      and length(cast(json_group_object(key, json(value -> '$.value')) as blob)) <= ${maxConfigurationBytes}
    from json_each(${merged}))`
  const isNext = sql`t.version = configurations.version + 1`
  const target = sql`(select * from fleet_configuration_targets where ${inSlice}) as t`
  return [
    sql`insert into configurations (device_id, version, document)
      select device_id, 0, '{}' from fleet_configuration_targets where ${inSlice} and version is null
      on conflict do nothing`,
    // 0 stands for a configuration that would become too large.
    sql`update fleet_configuration_targets set version = (
        select iif(${fits}, configurations.version + 1, 0) from configurations
        where configurations.device_id = fleet_configuration_targets.device_id)
      where ${inSlice} and version is null`,
    sql`insert into events (device_id, kind, detail, at)
      select configurations.device_id, 'configuration', json_object('by', 'admin', 'version', t.version,
        'keys', (select json_group_array(key) from json_each(${changes})), 'fleet_configuration', cast(${id} as integer)), ${at}
      from configurations join ${target} on t.device_id = configurations.device_id where ${isNext}`,
    sql`update configurations set version = t.version, document = ${merged}
      from ${target} where t.device_id = configurations.device_id and ${isNext}`,
  ]
}

/** How far changes have come, as rows by their ids. @param ids as JSON. */
export const progressOf = (ids: string) =>
  sql`select t.fleet_configuration_id as id,
      count(*) filter (where t.version is null) as waiting, count(*) filter (where t.version = 0) as refused,
      count(*) filter (where t.version > 0) as applied,
      count(*) filter (where t.version > 0 and c.published_version >= t.version) as published,
      count(*) filter (where t.version > 0 and coalesce(c.reported_version, 0) >= t.version) as in_sync
    from fleet_configuration_targets t left join configurations c on c.device_id = t.device_id
    where t.fleet_configuration_id in (select value from json_each(${ids}))
    group by t.fleet_configuration_id`
