/** The service of devices, put together from its parts: registry, authentication, credentials, events, last-seen times. */
import type { Log } from '../log.ts'
import type { RegistryDb } from '../registry/db.ts'
import { type Authenticated, Authentication } from './authentication.ts'
import { type Credential, Credentials, type Rotation, type RotationOptions } from './credentials.ts'
import { type DeletedDevice, type DeletedDeviceQuery, DeletedDevices } from './deleted-devices.ts'
import type { Device, DeviceChange, NewDevice } from './device.ts'
import { DeviceCache } from './device-cache.ts'
import { type DevicePage, type DeviceQuery, DeviceRegistry, type Summary } from './device-registry.ts'
import { DeviceRows } from './device-rows.ts'
import {
  type Actor,
  type DeviceEvent,
  eventsAfter,
  type FleetEvent,
  listEvents,
  newestEventId,
  newestEvents,
} from './events.ts'
import { DeviceImport, type ImportOptions, type ImportResult } from './import.ts'
import type { ImportRow } from './import-file.ts'
import { LastSeen } from './last-seen.ts'
import { type Registered, Registration } from './registration.ts'
import { RepeatedEvents, type Repetition } from './repeated-events.ts'

export interface Devices {
  /**
   * Registers a device and makes its first key, which only this answer holds.
   * @throws {AppError} CONFLICT when the name is taken; the existing device stays as it is.
   */
  register(input: NewDevice): Promise<Registered>
  /** Makes, and with `upsert` changes, the devices of a file. @throws {AppError} UNAVAILABLE when nothing was written. */
  importRows(rows: readonly ImportRow[], options: ImportOptions): Promise<ImportResult>
  /** @throws {AppError} UNAUTHORIZED for an unknown, expired or revoked key, FORBIDDEN for an inactive device. */
  authenticate(apiKey: string): Promise<Authenticated>
  /** From memory where possible. */
  find(id: number): Promise<Device | undefined>
  /** From memory only, and perhaps without its newest last-seen time. */
  cached(id: number): Device | undefined
  /** The devices that exist, by id: from memory where possible, the others with one statement. */
  findMany(ids: Iterable<number>): Promise<Map<number, Device>>
  /** Always from the registry. @throws {AppError} NOT_FOUND */
  get(id: number): Promise<Device>
  /** A page of the devices that match. @throws {AppError} VALIDATION_FAILED when `after` is of another order. */
  list(query: DeviceQuery): Promise<DevicePage>
  /** @throws {AppError} NOT_FOUND, CONFLICT when the name is taken, or VALIDATION_FAILED for more than 32 labels. */
  update(id: number, change: DeviceChange, by: Actor): Promise<{ device: Device; before: Device }>
  /**
   * Makes a new key. One other key stays valid until the grace ends: `usedKey`, else the newest; all further ones end at
   * once.
   * @throws {AppError} NOT_FOUND
   */
  rotateKey(id: number, options: RotationOptions): Promise<Rotation>
  /**
   * Revokes all keys of a device that are not revoked yet, or those with a prefix.
   * @returns how many keys were revoked.
   * @throws {AppError} NOT_FOUND
   */
  revokeKeys(id: number, prefix?: string): Promise<number>
  /** The newest 100 credentials, newest first. */
  credentials(id: number): Promise<Credential[]>
  /** Newest first. @param options `before`: the id of an event; only older ones are listed. */
  events(id: number, options: { limit: number; before?: number | undefined }): Promise<DeviceEvent[]>
  /** Of all devices, newest first. */
  newestEvents(limit: number): Promise<FleetEvent[]>
  /** Of all devices, oldest first. @param id of an event; only newer ones are listed. */
  eventsAfter(id: number, limit: number): Promise<FleetEvent[]>
  /** The largest id of an event; 0 while there is none. */
  newestEventId(): Promise<number>
  /** Counts an event that may come often; written with others some seconds later. */
  noteRepeated(event: Repetition): void
  summary(): Promise<Summary>
  /**
   * Deletes the device with its events, sessions, commands, configuration and keys. Dead letters and the Mosquitto account stay, and so
   * does its telemetry, which operators find under its id among the {@link DeletedDevices}.
   * @throws {AppError} NOT_FOUND
   */
  delete(id: number): Promise<Device>
  /** A deleted device whose telemetry stayed. */
  findDeleted(id: number): Promise<DeletedDevice | undefined>
  /** Those in order of their ids, with the number of all that match. */
  listDeleted(query: DeletedDeviceQuery): Promise<{ devices: DeletedDevice[]; total: number }>
  /** Forgets a deleted device, because no telemetry of it is left. */
  forgetDeleted(id: number): Promise<void>
  /** Changes a device in the cache, because another part has given its row these values. */
  changeCached(id: number, change: Partial<Device>): void
  /** Notes that the device was seen now; written with others some seconds later. */
  touch(id: number): void
  /** Writes the last-seen times, key uses and repeated events that are not written yet. */
  flush(): Promise<void>
  /** Writes events at once, and the times that are due: their last write was `flushEveryMs` ago, or never happened. */
  flushDue(): Promise<void>
  /** Brings times back that were written while a clock was ahead. */
  correctTimes(): Promise<void>
  close(): Promise<void>
}

export interface DevicesOptions {
  db: RegistryDb
  log: Log
  /** Milliseconds since the epoch. */
  now?: () => number
  /** Characters of a new key, 24–64. */
  keyLength: number
  /** Seconds; for devices without a value of their own. */
  offlineAfterS: number
  /**
   * Time that a device may be answered from memory, ms; 0 asks the registry each time. Changes made through this service
   * count at once, so this is the longest time that a change by another process goes unnoticed.
   */
  cacheMs: number
  /** Time between two writes of last-seen times, ms. */
  flushEveryMs?: number
  /** Writes also between requests, as by default; false where the process stands still then. */
  background?: boolean
  /** Devices that a statement over the whole fleet may look at; on a file few, because it holds up everything else. */
  rowsAtOnce?: number
}

export function createDevices(options: DevicesOptions): Devices {
  const { db, log, now = Date.now, keyLength, offlineAfterS, cacheMs } = options
  const { flushEveryMs = 5000, background = true } = options
  const { rowsAtOnce = Number.MAX_SAFE_INTEGER } = options
  const lastSeen = new LastSeen({ db, log, now, flushEveryMs, background, cacheMs, offlineAfterS })
  const repeated = new RepeatedEvents({ db, log, now, flushEveryMs, background })
  const withEvents = async (writeTimes: () => Promise<void>) => {
    await repeated.flush()
    await writeTimes()
  }
  const cache = new DeviceCache({ cacheMs, now })
  const rows = new DeviceRows(offlineAfterS, lastSeen)
  const deleted = new DeletedDevices(db)
  const registry = new DeviceRegistry({ db, rows, cache, lastSeen, deleted, now, rowsAtOnce })
  const registration = new Registration({ db, rows, keyLength, now })
  const bulk = new DeviceImport({ db, cache, keyLength, now })
  const authentication = new Authentication({ db, rows, cache, lastSeen, now })
  const forgetCached = (id: number) => cache.remove(id)
  const credentials = new Credentials({
    db,
    keyLength,
    now,
    forgetCached,
    mustExist: (id) => registry.get(id),
  })
  return {
    register: (input) => registration.register(input),
    importRows: (importedRows, importOptions) => bulk.run(importedRows, importOptions),
    authenticate: (apiKey) => authentication.authenticate(apiKey),
    find: (id) => registry.find(id),
    cached: (id) => cache.device(id),
    findMany: (ids) => registry.findMany(ids),
    get: (id) => registry.get(id),
    list: (query) => registry.list(query),
    update: (id, change, by) => registry.update(id, change, by),
    delete: (id) => registry.delete(id),
    findDeleted: (id) => deleted.find(id),
    listDeleted: (query) => deleted.list(query),
    forgetDeleted: (id) => deleted.forget(id),
    summary: () => registry.summary(),
    rotateKey: (id, rotation) => credentials.rotate(id, rotation),
    revokeKeys: (id, prefix) => credentials.revoke(id, prefix),
    credentials: (id) => credentials.list(id),
    events: (id, page) => listEvents(db, id, page),
    newestEvents: (limit) => newestEvents(db, limit),
    eventsAfter: (id, limit) => eventsAfter(db, id, limit),
    newestEventId: () => newestEventId(db),
    changeCached: (id, change) => cache.change(id, change),
    touch: (id) => lastSeen.touch(id),
    noteRepeated: (event) => repeated.note(event),
    flush: () => withEvents(() => lastSeen.flush()),
    flushDue: () => withEvents(() => lastSeen.flushDue()),
    correctTimes: () => lastSeen.correctFuture(),
    close: async () => {
      await registration.settled()
      await repeated.close()
      await lastSeen.close()
    },
  }
}
