/** The filter of the list of devices, as a condition of SQL. */
import { and, eq, not, or, type SQL, sql } from 'drizzle-orm'
import { foldText } from '../registry/folded-texts.ts'
import { configurations, deviceCounts, devices } from '../registry/schema.ts'
import { isPositive, parseSelector, selectorCondition } from '../registry/selector.ts'
import type { DeviceStatus } from './device.ts'
import { isOnlineSql } from './device-rows.ts'

/** Which devices are meant: those that fit every part that is given. */
export interface DeviceFilter {
  readonly status?: DeviceStatus | undefined
  readonly deviceType?: string | undefined
  /** Part of the name, the location or the description; upper and lower case are the same, in any script. */
  readonly q?: string | undefined
  /** As `parseSelector` takes it. */
  readonly selector?: string | undefined
  readonly online?: boolean | undefined
  /** `pending`: the device does not say that it runs the newest version of its configuration; `in_sync`: the others. */
  readonly configuration?: 'pending' | 'in_sync' | undefined
}

const isPending = sql`exists (select 1 from ${configurations} where ${configurations.deviceId} = ${devices.id}
  and ${configurations.version} > coalesce(${configurations.reportedVersion}, 0))`

const searched = [
  [devices.nameFolded, devices.name],
  [devices.locationFolded, devices.location],
  [devices.descriptionFolded, devices.description],
] as const

/** The condition of a search text. During a deployment the previous version still writes rows without folded texts. */
const contains = (text: string): SQL | undefined => {
  const part = foldText(text)
  return or(...searched.map(([folded, own]) => sql`instr(coalesce(${folded}, lower(${own})), ${part}) > 0`))
}

/** Devices that are looked up in the index of texts at most: where more match, it is quicker to look at all of them. */
const mostFound = 2000
/** The index has every three characters in a row. */
const indexed = 3

/** The devices of which the index of texts has the search text; undefined for a text that is too short. */
const foundTexts = (text: string): SQL | undefined => {
  const part = foldText(text)
  if ([...part].length < indexed) return undefined
  return sql`select rowid from device_texts where device_texts match ${`"${part.replaceAll('"', '""')}"`}`
}

/**
 * Answers with a row when the search text is in the index, at few devices, and all devices are; undefined for a text that is not
 * looked up.
 */
export const isFoundByIndex = ({ q }: DeviceFilter): SQL | undefined => {
  const found = q === undefined ? undefined : foundTexts(q)
  return (
    found &&
    sql`select 1 as few from device_texts_begin
      where id = 0 and (select count(*) from (${found} limit ${mostFound + 1})) <= ${mostFound}`
  )
}

/** Every device that a filter by these two alone finds is counted in `device_counts`. */
export const countedOf = (filter: DeviceFilter): SQL | undefined => {
  const { status, deviceType, ...others } = filter
  if ([others.q, others.selector, others.online, others.configuration].some((one) => one !== undefined))
    return undefined
  return and(
    status && eq(deviceCounts.status, status),
    deviceType === undefined ? undefined : eq(deviceCounts.deviceType, deviceType),
    sql`true`,
  )
}

/** Devices of the index of texts; the condition of the search text itself still has to hold. */
export const byIndex = ({ q = '' }: DeviceFilter): SQL | undefined => {
  const found = foundTexts(q)
  return found && sql`${devices.id} in (${found})`
}

/** @param now milliseconds since the epoch. @param offlineAfterS seconds, for devices without a value of their own. */
export function matchesOf(filter: DeviceFilter, now: number, offlineAfterS: number): SQL | undefined {
  const { status, deviceType, q, selector, online, configuration } = filter
  const terms = selector === undefined ? undefined : parseSelector(selector)
  return and(
    // The plus keeps the index of status out of the way of the one of labels, which finds fewer.
    status && (terms?.some(isPositive) ? sql`+${devices.status} = ${status}` : eq(devices.status, status)),
    deviceType === undefined ? undefined : eq(devices.deviceType, deviceType),
    terms && selectorCondition(terms),
    q === undefined ? undefined : contains(q),
    configuration === undefined ? undefined : configuration === 'pending' ? isPending : not(isPending),
    online === undefined ? undefined : eq(isOnlineSql(now, offlineAfterS), online ? 1 : 0),
  )
}
