/** Devices in the registry: find, list, update, delete, and the summary of the fleet. */
import { setImmediate as immediate } from 'node:timers/promises'
import DataLoader from 'dataloader'
import { and, desc, eq, gt, inArray, isNotNull, lte, not, type SQL, sql } from 'drizzle-orm'
import { AppError } from '../errors.ts'
import { isUniqueViolation } from '../libsql/errors.ts'
import { boundEvents } from '../registry/bounded-events.ts'
import type { RegistryDb } from '../registry/db.ts'
import { foldedTexts, normalName } from '../registry/folded-texts.ts'
import {
  commandSubscriptions,
  commands,
  configurations,
  credentials,
  deviceCounts,
  deviceLabels,
  devices,
  events,
  fleetConfigurationTargets,
  sessions,
} from '../registry/schema.ts'
import { expansionOf } from '../registry/webhook-outbox.ts'
import type { DeletedDevices } from './deleted-devices.ts'
import type { Device, DeviceChange, DeviceStatus } from './device.ts'
import type { DeviceCache } from './device-cache.ts'
import { byIndex, countedOf, type DeviceFilter, isFoundByIndex, matchesOf } from './device-filter.ts'
import { type DeviceSort, deviceOrder, type Place } from './device-order.ts'
import { type DeviceRows, deviceColumns, isOnlineSql } from './device-rows.ts'
import { type Actor, insertEvent } from './events.ts'
import { changedLabels, type LabelChange, maxLabels, tooManyLabels } from './labels.ts'
import type { LastSeen } from './last-seen.ts'
import { nameTaken } from './registration.ts'

export interface DeviceQuery extends DeviceFilter {
  /** By id if left out. */
  readonly sort?: DeviceSort | undefined
  readonly descending?: boolean | undefined
  readonly limit: number
  /** The place of the last device of the previous page, in the same order. */
  readonly after?: Place | undefined
  /** Devices to leave out before the page. */
  readonly offset?: number | undefined
}

/** One page of devices. */
export interface DevicePage {
  readonly devices: Device[]
  /** Devices that match, on all pages. */
  readonly total: number
  /** The place to continue after; undefined on the last page. */
  readonly next: Place | undefined
}

/** The fleet in numbers. */
export interface Summary {
  readonly total: number
  readonly byStatus: Readonly<Record<DeviceStatus, number>>
  /** The 100 most frequent types. */
  readonly byType: Readonly<Record<string, number>>
  readonly online: number
  /** The ten devices with the newest last-seen times, newest first. */
  readonly lastSeen: readonly Device[]
}

export interface DeviceRegistryOptions {
  readonly db: RegistryDb
  readonly rows: DeviceRows
  readonly cache: DeviceCache
  readonly lastSeen: LastSeen
  readonly deleted: DeletedDevices
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** Devices that a statement over the whole fleet may look at: on a file, statements hold up everything else. */
  readonly rowsAtOnce: number
}

const shownTypes = 100
const shownLastSeen = 10

const unknownDevice = () => new AppError('NOT_FOUND', 'There is no such device.')

const hasTooManyLabels = () => {
  const message = `would be more than ${maxLabels}`
  return new AppError('VALIDATION_FAILED', `The body is not valid: labels: ${message}.`, {
    details: [{ path: 'labels', message }],
  })
}

/** The column of labels after a change. */
const columnAfter = (change: LabelChange | null): SQL | null =>
  change === null ? null : changedLabels(sql`${JSON.stringify(change)}`)

const foreignCursor = () =>
  new AppError('VALIDATION_FAILED', 'The cursor belongs to another query.', {
    details: [{ path: 'cursor', message: 'is not one that this query gave' }],
  })

export class DeviceRegistry {
  readonly #options: DeviceRegistryOptions
  /** Reads the devices of the messages that come in one turn of the event loop with one statement. */
  readonly #finder = new DataLoader(
    async (ids: readonly number[]) => {
      const found = await this.findMany(ids)
      return ids.map((id) => found.get(id))
    },
    { cache: false, batchScheduleFn: setImmediate },
  )

  constructor(options: DeviceRegistryOptions) {
    this.#options = options
  }

  /** From memory where possible. */
  async find(id: number): Promise<Device | undefined> {
    const { cache, lastSeen } = this.#options
    const known = cache.device(id)
    return known === undefined ? this.#finder.load(id) : lastSeen.applyTo(known)
  }

  /** The devices that exist, by id: from memory where possible, the others with one statement. */
  async findMany(ids: Iterable<number>): Promise<Map<number, Device>> {
    const { db, rows, cache, lastSeen } = this.#options
    const found = new Map<number, Device>()
    const missing: number[] = []
    for (const id of new Set(ids)) {
      const known = cache.device(id)
      if (known === undefined) missing.push(id)
      else found.set(id, lastSeen.applyTo(known))
    }
    if (missing.length === 0) return found
    const { generation } = cache
    const listed = await db
      .select(deviceColumns)
      .from(devices)
      .where(sql`${devices.id} in (select value from json_each(${JSON.stringify(missing)}))`)
    for (const row of listed) {
      const device = rows.toDevice(row)
      cache.addDevice(device, generation)
      found.set(device.id, device)
    }
    return found
  }

  /** Always from the registry. @throws {AppError} NOT_FOUND */
  async get(id: number): Promise<Device> {
    const device = await this.#read(id)
    if (device === undefined) throw unknownDevice()
    return device
  }

  /** A page of the devices that match. @throws {AppError} VALIDATION_FAILED when `after` is of another order. */
  async list(query: DeviceQuery): Promise<DevicePage> {
    const { db, rows, lastSeen, now } = this.#options
    const { online, sort = 'id', descending = false, limit, after, offset = 0 } = query
    if (online !== undefined || sort === 'last_seen') await lastSeen.flush()
    const order = deviceOrder(sort, descending)
    const isBehind = after === undefined ? undefined : order.after(after)
    if (after !== undefined && isBehind === undefined) throw foreignCursor()
    const matches = and(matchesOf(query, now(), rows.offlineAfterS), await this.#byIndex(query))
    // Only ids are sorted: whole rows took up to ten times as long. One more than the limit tells of a next page.
    const page = db
      .select({ id: devices.id })
      .from(devices)
      .where(and(matches, isBehind))
      .orderBy(order.orderBy)
      .limit(limit + 1)
      .offset(offset)
    const [found, [{ total } = { total: 0 }]] = await db.batch([
      db
        .select({ ...deviceColumns, sortKey: order.key })
        .from(devices)
        .where(inArray(devices.id, page))
        .orderBy(order.orderBy),
      this.#count(query, matches),
    ])
    const listed = found.slice(0, limit)
    const last = listed.at(-1)
    return {
      devices: listed.map(({ sortKey: _key, ...row }) => rows.toDevice(row)),
      total,
      next: found.length > limit && last ? { id: last.id, key: last.sortKey ?? undefined } : undefined,
    }
  }

  async #byIndex(query: DeviceQuery): Promise<SQL | undefined> {
    const isFew = isFoundByIndex(query)
    return isFew && (await this.#options.db.all(isFew)).length > 0 ? byIndex(query) : undefined
  }

  #count(query: DeviceQuery, matches: SQL | undefined) {
    const { db } = this.#options
    const counted = countedOf(query)
    if (counted === undefined) return db.select({ total: sql<number>`count(*)` }).from(devices).where(matches)
    return db
      .select({ total: sql<number>`coalesce(sum(${deviceCounts.count}), 0)` })
      .from(deviceCounts)
      .where(counted)
  }

  /** @throws {AppError} NOT_FOUND, CONFLICT when the name is taken, or VALIDATION_FAILED for more than 32 labels. */
  async update(id: number, change: DeviceChange, by: Actor): Promise<{ device: Device; before: Device }> {
    const { db, cache, now } = this.#options
    const at = now()
    const before = await this.get(id)
    const named = change.name === undefined ? change : { ...change, name: normalName(change.name) }
    const set = Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined))
    if (Object.keys(set).length === 0) return { device: before, before }
    const labels = change.labels === undefined ? undefined : columnAfter(change.labels)
    try {
      const updated = await db
        .update(devices)
        .set({ ...set, ...foldedTexts(named), ...(labels !== undefined && { labels }), updatedAt: at })
        .where(and(eq(devices.id, id), labels ? not(tooManyLabels(labels)) : undefined))
        .returning({ id: devices.id })
      if (updated.length === 0) {
        await this.get(id)
        throw hasTooManyLabels()
      }
    } catch (error) {
      throw isUniqueViolation(error) ? nameTaken() : error
    }
    cache.remove(id)
    const { status, ...fields } = set as DeviceChange
    if (Object.keys(fields).length > 0)
      await db.batch([
        insertEvent(db, id, 'updated', at, { by, fields: Object.keys(fields) }),
        boundEvents(db, id, 'updated'),
      ])
    if (status !== undefined && status !== before.status)
      await db.batch([
        insertEvent(db, id, 'status', at, { by, from: before.status, to: status }),
        boundEvents(db, id, 'status'),
      ])
    return { device: await this.get(id), before }
  }

  /**
   * Deletes the device with its events, sessions, commands, configuration and keys. Dead letters and the Mosquitto account stay, and so
   * does its telemetry, which operators find under its id among the {@link DeletedDevices}.
   * @throws {AppError} NOT_FOUND
   */
  async delete(id: number): Promise<Device> {
    const { db, cache, deleted, lastSeen, now } = this.#options
    const at = now()
    const device = await this.get(id)
    // A server may not enforce foreign keys, so the rows that refer to the device are deleted here.
    await db.batch([
      // Webhooks are told of it with its name.
      ...expansionOf(db, sql`device_id = ${id}`),
      deleted.keep(id, at),
      db.delete(events).where(eq(events.deviceId, id)),
      db.delete(commands).where(eq(commands.deviceId, id)),
      db.delete(commandSubscriptions).where(eq(commandSubscriptions.deviceId, id)),
      db.delete(sessions).where(eq(sessions.deviceId, id)),
      db.delete(configurations).where(eq(configurations.deviceId, id)),
      db.delete(fleetConfigurationTargets).where(eq(fleetConfigurationTargets.deviceId, id)),
      db.delete(credentials).where(eq(credentials.deviceId, id)),
      db.delete(deviceLabels).where(eq(deviceLabels.deviceId, id)),
      db.delete(devices).where(eq(devices.id, id)),
    ])
    cache.remove(id)
    lastSeen.forget(id)
    return device
  }

  async summary(): Promise<Summary> {
    const { db, lastSeen } = this.#options
    await lastSeen.flush()
    const groups = await db
      .select({ status: deviceCounts.status, type: deviceCounts.deviceType, count: deviceCounts.count })
      .from(deviceCounts)
    const byStatus = { active: 0, inactive: 0, maintenance: 0 }
    const types = new Map<string, number>()
    for (const { status, type, count } of groups) {
      byStatus[status] += count
      types.set(type, (types.get(type) ?? 0) + count)
    }
    const frequent = [...types].sort(([, one], [, other]) => other - one).slice(0, shownTypes)
    return {
      total: groups.reduce((sum, { count }) => sum + count, 0),
      byStatus,
      byType: Object.fromEntries(frequent),
      ...(await this.#activity()),
    }
  }

  /** Devices that are online, and those seen last. Every device has to be looked at: requests come in between. */
  async #activity(): Promise<Pick<Summary, 'online' | 'lastSeen'>> {
    const { db, rows, now, rowsAtOnce } = this.#options
    const [{ newest } = { newest: 0 }] = await db
      .select({ newest: sql<number>`coalesce(max(${devices.id}), 0)` })
      .from(devices)
    let online = 0
    let last: { readonly id: number; readonly at: number }[] = []
    for (let from = 0; from < newest; from += rowsAtOnce) {
      const slice = and(gt(devices.id, from), lte(devices.id, Math.min(from + rowsAtOnce, newest)))
      const [[count], seen] = await db.batch([
        db
          .select({ online: sql<number | null>`sum(${isOnlineSql(now(), rows.offlineAfterS)})` })
          .from(devices)
          .where(slice),
        db
          .select({ id: devices.id, at: sql<number>`${devices.lastSeenAt}` })
          .from(devices)
          .where(and(slice, isNotNull(devices.lastSeenAt)))
          .orderBy(desc(devices.lastSeenAt))
          .limit(shownLastSeen),
      ])
      online += count?.online ?? 0
      last = [...last, ...seen].sort((a, b) => b.at - a.at).slice(0, shownLastSeen)
      await immediate()
    }
    const found = await this.findMany(last.map(({ id }) => id))
    return { online, lastSeen: last.flatMap(({ id }) => found.get(id) ?? []) }
  }

  async #read(id: number): Promise<Device | undefined> {
    const { db, rows, cache } = this.#options
    const { generation } = cache
    const [row] = await db.select(deviceColumns).from(devices).where(eq(devices.id, id))
    if (row === undefined) return undefined
    const device = rows.toDevice(row)
    cache.addDevice(device, generation)
    return device
  }
}
