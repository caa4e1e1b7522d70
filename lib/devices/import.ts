/** Makes and changes many devices at once, in few transactions: one statement writes hundreds of rows. */
import { setImmediate as turn } from 'node:timers/promises'
import { type SQL, sql } from 'drizzle-orm'
import type { RegistryDb } from '../registry/db.ts'
import { mintKey } from './credentials.ts'
import type { DeviceCache } from './device-cache.ts'
import type { ImportedDevice, ImportRow } from './import-file.ts'
import { changedLabels, labelsOf, maxLabels } from './labels.ts'
import { columnsOf, foldedColumns, insertDevices, newDeviceRow, optionalColumns } from './new-devices.ts'

export interface ImportOptions {
  /** Changes devices that exist under the name of a row; otherwise such a row is an error. */
  readonly upsert: boolean
  /** Only reports what would be done. */
  readonly dryRun: boolean
}

/** A device that an import has made, with its first key. */
export interface NewKey {
  readonly row: number
  readonly id: number
  readonly name: string
  readonly apiKey: string
}

export interface RowError {
  readonly row: number
  readonly name: string | undefined
  readonly reason: string
}

export interface ImportResult {
  readonly created: number
  readonly updated: number
  /** In the order of the rows. */
  readonly errors: readonly RowError[]
  /** In the order of the rows; empty in a dry run. */
  readonly keys: readonly NewKey[]
  /** Devices that became active, inactive or in maintenance. */
  readonly switched: readonly { readonly id: number; readonly status: string }[]
}

/** Rows of one transaction: on a file it runs on the calling thread, and other requests wait for it. */
const rowsPerWrite = 250

interface Valid {
  readonly row: number
  readonly device: ImportedDevice
}

interface Existing {
  readonly id: number
  readonly name: string
  readonly status: string
  /** JSON; null for none. */
  readonly labels: string | null
}

export interface DeviceImportOptions {
  readonly db: RegistryDb
  readonly cache: DeviceCache
  /** Characters of a new key, 24–64. */
  readonly keyLength: number
  /** Milliseconds since the epoch. */
  readonly now: () => number
}

const byAdmin = { detail: '{"by":"admin"}' }

const changeableColumns = ['device_type', 'status', ...optionalColumns, ...foldedColumns]

/** An absent field keeps the value of the column; null clears it. */
const assignments: SQL = sql`${sql.raw(
  changeableColumns
    .map((name) => `${name} = iif(json_type(r.value, '$.${name}') is null, ${name}, r.value ->> '${name}')`)
    .join(', '),
)}, labels = case json_type(r.value, '$.labels') when 'object' then ${changedLabels(sql`r.value -> 'labels'`)}
  when 'null' then null else labels end`

/** Whether a device that exists would have too many labels after the row. */
const hasTooMany = ({ device }: Valid, { labels }: Existing): boolean => {
  if (!device.labels) return false
  const before = JSON.parse(labels ?? '{}') as Record<string, string>
  return Object.keys(labelsOf({ ...before, ...device.labels })).length > maxLabels
}

export class DeviceImport {
  readonly #options: DeviceImportOptions

  constructor(options: DeviceImportOptions) {
    this.#options = options
  }

  /**
   * Imports the rows of a file. A failure of the database after the first rows are written is an error of the rows that are
   * left: the keys of the others must reach the caller.
   * @throws {AppError} UNAVAILABLE when nothing was written.
   */
  async run(rows: readonly ImportRow[], { upsert, dryRun }: ImportOptions): Promise<ImportResult> {
    const valid = rows.filter((row): row is Valid => 'device' in row)
    const errors: RowError[] = rows.flatMap((row) => ('device' in row ? [] : [row]))
    const existing = await this.#existing(valid.map(({ device }) => device.name))
    const fresh = valid.filter(({ device }) => !existing.has(device.name))
    const known = valid.filter(({ device }) => existing.has(device.name))
    if (!upsert)
      for (const { row, device } of known) errors.push({ row, name: device.name, reason: 'name is taken' })
    const changed: Valid[] = []
    for (const row of upsert ? known : []) {
      const before = existing.get(row.device.name)
      if (before === undefined || !hasTooMany(row, before)) changed.push(row)
      else errors.push({ row: row.row, name: before.name, reason: `labels would be more than ${maxLabels}` })
    }
    if (dryRun) return { ...sorted(errors, []), created: fresh.length, updated: changed.length, switched: [] }

    const keys: NewKey[] = []
    await this.#inParts(
      fresh,
      errors,
      () => keys.length > 0,
      async (part) => {
        const made = await this.#create(part)
        keys.push(...made)
        const rowsMade = new Set(made.map(({ row }) => row))
        for (const { row, device } of part)
          if (!rowsMade.has(row)) errors.push({ row, name: device.name, reason: 'name is taken' })
      },
    )
    let updated = 0
    await this.#inParts(
      changed,
      errors,
      () => keys.length + updated > 0,
      async (part) => {
        await this.#update(part)
        updated += part.length
      },
    )
    const switched = changed.flatMap(({ device: { name, status } }) => {
      const before = existing.get(name)
      return before === undefined || status === undefined || status === before.status
        ? []
        : [{ id: before.id, status }]
    })
    for (const { device } of changed) this.#options.cache.remove(existing.get(device.name)?.id ?? 0)
    return { ...sorted(errors, keys), created: keys.length, updated, switched }
  }

  async #existing(all: readonly string[]): Promise<Map<string, Existing>> {
    const { db } = this.#options
    const found = await db.all<Existing>(
      sql`select id, name, status, labels from devices where name in (select value from json_each(${JSON.stringify(all)}))`,
    )
    return new Map(found.map((device) => [device.name, device]))
  }

  /** Writes part by part, and lets other requests run between two parts. */
  async #inParts(
    rows: readonly Valid[],
    errors: RowError[],
    isAnyWritten: () => boolean,
    write: (part: readonly Valid[]) => Promise<void>,
  ): Promise<void> {
    for (let from = 0; from < rows.length; from += rowsPerWrite) {
      try {
        await write(rows.slice(from, from + rowsPerWrite))
      } catch (error) {
        if (!isAnyWritten()) throw error
        for (const { row, device } of rows.slice(from))
          errors.push({ row, name: device.name, reason: 'the database failed: send this row again' })
        return
      }
      await turn()
    }
  }

  /** @returns the devices that were made: a name that another request has taken meanwhile is left out. */
  async #create(rows: readonly Valid[]): Promise<NewKey[]> {
    const { db, keyLength, now } = this.#options
    const at = now()
    const keys = new Map(rows.map(({ row }) => [row, mintKey(keyLength)]))
    const json = JSON.stringify(
      rows.map(({ row, device }) =>
        newDeviceRow(device, { apiKey: keys.get(row) ?? '', at, life: device.keyLife }, byAdmin),
      ),
    )
    const [made] = await db.batch(insertDevices(db, json, at))
    const idOf = new Map(made.map(({ id, name }) => [name, id]))
    return rows.flatMap(({ row, device: { name } }) => {
      const id = idOf.get(name)
      return id === undefined ? [] : [{ row, id, name, apiKey: keys.get(row) ?? '' }]
    })
  }

  async #update(rows: readonly Valid[]): Promise<void> {
    const { db, now } = this.#options
    const at = now()
    const json = JSON.stringify(rows.map(({ device }) => ({ ...columnsOf(device), labels: device.labels })))
    await db.batch([
      db.run(sql`
        insert into events (device_id, kind, detail, at)
        select d.id, 'status', json_object('by', 'admin', 'from', d.status, 'to', r.value ->> 'status'), ${at}
        from json_each(${json}) r join devices d on d.name = r.value ->> 'name'
        where r.value ->> 'status' <> d.status`),
      db.run(sql`
        insert into events (device_id, kind, detail, at)
        select d.id, 'updated', json_object('by', 'admin', 'fields',
          (select json_group_array(f.key) from json_each(r.value) f where f.key not in ('name', 'status', 'name_folded', 'location_folded', 'description_folded'))), ${at}
        from json_each(${json}) r join devices d on d.name = r.value ->> 'name'`),
      db.run(sql`
        update devices set ${assignments}, updated_at = ${at}
        from json_each(${json}) r where devices.name = r.value ->> 'name'`),
    ])
  }
}

const sorted = (errors: readonly RowError[], keys: readonly NewKey[]) => ({
  errors: [...errors].sort((one, other) => one.row - other.row),
  keys: [...keys].sort((one, other) => one.row - other.row),
})
