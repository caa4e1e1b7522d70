/**
 * The catalogue of fields: which names each device has used, with which types. It answers what there is to query, and bounds
 * the names of a device, since each name is a series of its own in InfluxDB. A known field costs no statement.
 */
import DataLoader from 'dataloader'
import { eq, sql } from 'drizzle-orm'
import { LRUCache } from 'lru-cache'
import type { Log } from '../log.ts'
import type { RegistryDb } from '../registry/db.ts'
import { fieldNames } from '../registry/schema.ts'
import type { Parsed, ParsedReading } from './payload/parse.ts'
import type { FieldValue, Rejection, Warning } from './reading.ts'
import type { FieldSummary, FieldType } from './store.ts'

export const fieldTypes: readonly FieldType[] = ['number', 'text', 'boolean']

/** A field of one device with one type of values. A name with values of several types is several fields. */
export interface Field {
  readonly name: string
  readonly type: FieldType
  /** Arrivals of its first and its newest value, or times of readings from before, milliseconds since the epoch. */
  readonly firstSeen: number
  readonly lastSeen: number
}

export interface FieldCatalogueOptions {
  readonly db: RegistryDb
  readonly log: Log
  /** Milliseconds since the epoch. */
  readonly now?: (() => number) | undefined
  /** Time between two writes of last-seen times, ms. */
  readonly flushEveryMs?: number | undefined
  /** Writes also between requests, as by default; false where the process stands still then. */
  readonly background?: boolean | undefined
  /** Most fields of all devices in memory. */
  readonly maxKnown?: number | undefined
}

const nsPerMs = 1_000_000n
/** Names of one device. */
export const maxNames = 1000
/** Warnings about fields of one reading that are left out. */
const maxWarningsPerReading = 20
/** Devices and fields in memory, by default. */
const [maxDevices, defaultMaxKnown] = [50_000, 300_000]
/** Fields that wait to be written. */
const maxWaiting = 50_000
/** Rows of one statement. */
const rowsPerWrite = 500
/** How old a written last-seen time may be, ms. */
const writeAgainMs = 300_000
/** Pause after the registry failed, ms: readings must not wait for it one by one. */
const pauseMs = 30_000
/** Name of the row that says that the fields of the store are in the catalogue; no field has an empty name. */
const filledMark = ''

interface Row {
  readonly deviceId: number
  readonly name: string
  readonly type: FieldType
  firstSeen: number
  lastSeen: number
  /** The last-seen time in the registry; 0 before the first write. */
  writtenAt: number
}

/** The rows of a name, by type. */
type Rows = { [type in FieldType]?: Row }
type DeviceFields = Map<string, Rows>

const typeOf = (value: FieldValue | undefined): FieldType => {
  const type = typeof value
  return type === 'number' || type === 'boolean' ? type : 'text'
}

const leftOutWarning = (index: number, path: string): Warning => ({
  index,
  path,
  code: 'FIELD_LIMIT',
  message: `is left out: the device has ${maxNames} field names already`,
})

const rejection = (index: number): Rejection => {
  const message = `has no field that could be stored: the device has ${maxNames} field names already`
  return {
    index,
    code: 'VALIDATION_FAILED',
    message: `The reading ${message}.`,
    details: [{ path: '', message }],
  }
}

const without = (parsed: ParsedReading, names: readonly string[]): ParsedReading => {
  const fields = { ...parsed.reading.fields }
  for (const name of names) delete fields[name]
  return { ...parsed, reading: { ...parsed.reading, fields } }
}

export class FieldCatalogue {
  readonly #options: FieldCatalogueOptions
  readonly #timer: NodeJS.Timeout | undefined
  readonly #known: LRUCache<number, DeviceFields>
  /** Reads the names of several devices with one statement. */
  readonly #loader = new DataLoader((ids: readonly number[]) => this.#loadAll(ids), { cache: false })
  #waiting = new Set<Row>()
  #hasNewNames = false
  #writing: Promise<void> = Promise.resolve()
  /** By performance.now(). */
  #failedAt = Number.NEGATIVE_INFINITY

  constructor(options: FieldCatalogueOptions) {
    this.#options = options
    this.#known = new LRUCache({
      max: maxDevices,
      maxSize: options.maxKnown ?? defaultMaxKnown,
      sizeCalculation: (fields) => fields.size + 1,
    })
    if (options.background === false) return
    this.#timer = setInterval(() => void this.flush(), options.flushEveryMs ?? 5000)
    this.#timer.unref()
  }

  /** Whether the names of a device are in memory. */
  knows(deviceId: number): boolean {
    return this.#known.has(deviceId)
  }

  /** Whether fields that nobody has written wait: their readings should be answered after {@link flush}. */
  get hasNewNames(): boolean {
    return this.#hasNewNames && !this.#isPaused
  }

  /** Reads the names of a device. Never rejects: without the registry every name is taken. */
  async load(deviceId: number): Promise<void> {
    if (!this.#isPaused && !this.knows(deviceId)) await this.#loader.load(deviceId)
  }

  /** Leaves out the fields beyond the limit, each with a warning, and notes the others. @param at arrival, ms since the epoch. */
  admit(deviceId: number, parsed: Parsed, at: number): Parsed {
    const known = this.#known.get(deviceId)
    if (known === undefined) return parsed
    let leftOut: Map<ParsedReading, string[]> | undefined
    for (const one of parsed.readings) {
      const { fields } = one.reading
      for (const name in fields) {
        const type = typeOf(fields[name])
        const row = known.get(name)?.[type]
        if (row !== undefined) {
          if (at > row.lastSeen) row.lastSeen = at
          if (at - row.writtenAt > writeAgainMs && row.writtenAt !== 0) this.#waiting.add(row)
        } else if (!this.#add(known, { deviceId, name, type, firstSeen: at, lastSeen: at, writtenAt: 0 })) {
          leftOut ??= new Map()
          leftOut.set(one, [...(leftOut.get(one) ?? []), name])
        }
      }
    }
    return leftOut === undefined ? parsed : this.#withoutFields(parsed, leftOut)
  }

  /** Writes what waits. Never rejects: what cannot be written waits on, and the log says so. */
  flush(): Promise<void> {
    // A write that is under way lacks the names that came after its begin.
    this.#writing = this.#writing.then(() => this.#write())
    return this.#writing
  }

  /**
   * The fields of a device, sorted by name and type.
   * @param fromStore gives those that the store has from before there was a catalogue; called once for each device.
   */
  async list(deviceId: number, fromStore: () => Promise<readonly FieldSummary[]>): Promise<Field[]> {
    await this.flush()
    let rows = await this.#read(deviceId)
    if (!rows.some(({ name }) => name === filledMark)) {
      await this.#fill(deviceId, await fromStore())
      rows = await this.#read(deviceId)
    }
    const known = this.#known.get(deviceId)
    const now = this.#now
    return rows
      .filter(({ name }) => name !== filledMark)
      .map(({ name, type, firstSeen, lastSeen }) => ({
        name,
        type,
        // Wrong clocks, of earlier readings or of this server, leave times in the future.
        firstSeen: Math.min(firstSeen, now),
        // The registry gets a newer time only every few minutes.
        lastSeen: Math.min(Math.max(lastSeen, known?.get(name)?.[type]?.lastSeen ?? 0), now),
      }))
      .sort((a, b) => (a.name === b.name ? (a.type < b.type ? -1 : 1) : a.name < b.name ? -1 : 1))
  }

  /** Forgets a device whose telemetry is gone. */
  async clear(deviceId: number): Promise<void> {
    await this.flush()
    this.#known.delete(deviceId)
    await this.#options.db.delete(fieldNames).where(eq(fieldNames.deviceId, deviceId))
  }

  /** Writes what waits and ends. */
  close(): Promise<void> {
    clearInterval(this.#timer)
    return this.flush()
  }

  get #now(): number {
    return (this.#options.now ?? Date.now)()
  }

  get #isPaused(): boolean {
    return performance.now() - this.#failedAt < pauseMs
  }

  #add(known: DeviceFields, row: Row): boolean {
    const rows = known.get(row.name)
    if (rows === undefined && known.size >= maxNames) return false
    if (rows !== undefined) rows[row.type] = row
    else {
      known.set(row.name, { [row.type]: row })
      // The cache measures a device when it is added, not when it is set again.
      this.#known.delete(row.deviceId)
      this.#known.set(row.deviceId, known)
    }
    if (this.#waiting.size < maxWaiting) this.#waiting.add(row)
    this.#hasNewNames = true
    return true
  }

  #withoutFields(parsed: Parsed, leftOut: ReadonlyMap<ParsedReading, readonly string[]>): Parsed {
    const readings: ParsedReading[] = []
    const rejected = [...parsed.rejected]
    const warnings = [...parsed.warnings]
    for (const one of parsed.readings) {
      const names = leftOut.get(one)
      if (names === undefined) readings.push(one)
      else if (names.length === Object.keys(one.reading.fields).length) rejected.push(rejection(one.index))
      else {
        readings.push(without(one, names))
        for (const name of names.slice(0, maxWarningsPerReading))
          warnings.push(leftOutWarning(one.index, name))
      }
    }
    return { ...parsed, readings, rejected, warnings }
  }

  async #loadAll(deviceIds: readonly number[]): Promise<undefined[]> {
    try {
      const loaded = new Map(deviceIds.map((id): [number, DeviceFields] => [id, new Map()]))
      const { deviceId, name, type, firstSeen, lastSeen } = fieldNames
      const rows = await this.#options.db
        .select({ deviceId, name, type, firstSeen, lastSeen })
        .from(fieldNames)
        .where(sql`${deviceId} in (select value from json_each(${JSON.stringify([...loaded.keys()])}))`)
      for (const row of rows) {
        const known = loaded.get(row.deviceId)
        if (known === undefined || row.name === filledMark) continue
        const types = known.get(row.name) ?? {}
        known.set(row.name, types)
        types[row.type] = { ...row, writtenAt: row.lastSeen }
      }
      // Names that came while the statement ran are not in its rows.
      for (const [id, known] of loaded) if (!this.#known.has(id)) this.#known.set(id, known)
    } catch (error) {
      this.#pause(error)
    }
    return deviceIds.map(() => undefined)
  }

  #read(deviceId: number) {
    const { name, type, firstSeen, lastSeen } = fieldNames
    return this.#options.db
      .select({ name, type, firstSeen, lastSeen })
      .from(fieldNames)
      .where(eq(fieldNames.deviceId, deviceId))
  }

  async #fill(deviceId: number, stored: readonly FieldSummary[]): Promise<void> {
    const at = this.#now
    const mark: Field = { name: filledMark, type: 'number', firstSeen: at, lastSeen: at }
    const fields = stored.map(({ name, type, first, last }) => ({
      name,
      type,
      firstSeen: Number(first / nsPerMs),
      lastSeen: Number(last / nsPerMs),
    }))
    await this.#insert([mark, ...fields].map((field) => ({ ...field, deviceId })))
    // The next message loads the names anew.
    this.#known.delete(deviceId)
  }

  async #write(): Promise<void> {
    const rows = [...this.#waiting]
    if (rows.length === 0) return
    this.#waiting = new Set()
    this.#hasNewNames = false
    try {
      const written = rows.map((row) => ({ row, lastSeen: row.lastSeen }))
      await this.#insert(rows)
      for (const { row, lastSeen } of written) row.writtenAt = lastSeen
    } catch (error) {
      for (const row of rows) if (this.#waiting.size < maxWaiting) this.#waiting.add(row)
      this.#hasNewNames = true
      this.#pause(error)
    }
  }

  async #insert(rows: readonly (Field & { readonly deviceId: number })[]): Promise<void> {
    for (let from = 0; from < rows.length; from += rowsPerWrite) {
      const json = JSON.stringify(
        rows
          .slice(from, from + rowsPerWrite)
          .map(({ deviceId, name, type, firstSeen, lastSeen }) => [
            deviceId,
            name,
            type,
            firstSeen,
            lastSeen,
          ]),
      )
      await this.#options.db.run(sql`insert into field_names (device_id, name, type, first_seen, last_seen)
        select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 from json_each(${json}) where true
        on conflict do update set first_seen = min(first_seen, excluded.first_seen),
          last_seen = max(last_seen, excluded.last_seen)`)
    }
  }

  #pause(error: unknown): void {
    this.#failedAt = performance.now()
    this.#options.log.warn('the catalogue of fields cannot be used', { error })
  }
}
