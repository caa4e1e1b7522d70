/**
 * The configuration of a device: the desired one as a whole, with a version that each change raises. It is published
 * retained, and the device reports the version that it runs.
 */
import { AppError } from '../errors.ts'
import { formatMillis } from '../iso-time.ts'
import { isNestedWithin, maxLevels } from '../json.ts'

export const dataTypes = ['string', 'integer', 'float', 'boolean', 'json'] as const
export type DataType = (typeof dataTypes)[number]

export interface Entry {
  readonly value: unknown
  readonly data_type: DataType
  /** ISO 8601. */
  readonly updated_at: string
}

export interface Configuration {
  /** 0 when the device never had a configuration. */
  readonly version: number
  readonly entries: Readonly<Record<string, Entry>>
  /** The version that the device runs; null when it never reported one. */
  readonly reportedVersion: number | null
  /** Milliseconds since the epoch. */
  readonly reportedAt: number | null
}

/** What is desired of a device, and what it runs. */
export type Versions = Pick<Configuration, 'version' | 'reportedVersion'>

/** The versions of a device as answers show them. */
export const versionsView = ({ version, reportedVersion }: Versions = noVersions) => ({
  desired_version: version,
  reported_version: reportedVersion,
})

const noVersions: Versions = { version: 0, reportedVersion: null }

/** Changes by key; null deletes the key. */
export type Changes = Readonly<Record<string, { value: unknown; dataType: DataType } | null>>

/** The changes of a request: values by key, whose types follow from them. */
export const changesOf = (values: Readonly<Record<string, unknown>>): Changes =>
  Object.fromEntries(
    Object.entries(values).map(([key, value]) => [
      key,
      value === null ? null : { value, dataType: dataTypeOf(value) },
    ]),
  )

/** The part of the service that needs no broker. */
export interface ConfigurationStore {
  read(deviceId: number): Promise<Configuration>
  /** Records the version that a device runs; ignores an unknown version, and a report that is older than the last one. */
  report(deviceId: number, version: number, at: number): Promise<void>
  /** The versions of several devices, by their ids; those without a configuration are left out. */
  versions(deviceIds: readonly number[]): Promise<ReadonlyMap<number, Versions>>
}

export interface Configurations {
  /**
   * Applies all changes at once, raises the version and publishes the whole configuration.
   * @param options `ifVersion`: the version that the caller changed; undefined for any version.
   * @throws {AppError} PRECONDITION_FAILED for another version, VALIDATION_FAILED above 128 keys or 128 KiB, NOT_FOUND
   */
  change(
    deviceId: number,
    changes: Changes,
    options: { by: 'device' | 'admin'; ifVersion?: number | undefined },
  ): Promise<Configuration & { published: boolean }>
  /** Publishes every configuration again, for a broker that keeps no retained messages. @returns how many. */
  republish(): Promise<number>
  /** Deletes the retained configuration and status messages of a deleted device at the broker. */
  clear(deviceId: number): Promise<void>
}

/** Keys of one device. */
export const maxKeys = 128
/** The published document: AWS IoT Core accepts no larger message. */
export const maxDocumentBytes = 128 * 1024

/** JSON text may hold a number beyond the largest double, which would become null. */
const refuseInfinite = (_name: string, value: unknown): unknown => {
  if (value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY) throw new RangeError()
  return value
}

/** Devices and forms send numbers, booleans and JSON as text. */
const parseText = (value: unknown): unknown => {
  if (typeof value !== 'string') return value
  try {
    return JSON.parse(value, refuseInfinite) as unknown
  } catch {
    return undefined
  }
}

/** The value in the form of its type, also from its text; undefined when it does not fit the type. */
export function typedValue(value: unknown, dataType: DataType): unknown {
  const parsed = parseText(value)
  switch (dataType) {
    case 'string':
      return typeof value === 'string' ? value : undefined
    case 'integer':
      return Number.isSafeInteger(parsed) ? parsed : undefined
    case 'float':
      return typeof parsed === 'number' && Number.isFinite(parsed) ? parsed : undefined
    case 'boolean':
      return typeof parsed === 'boolean' ? parsed : undefined
    case 'json':
      return isNestedWithin(maxLevels, parsed) ? parsed : undefined
  }
}

/** The type of a value that came without one. */
export function dataTypeOf(value: unknown): DataType {
  if (typeof value === 'string') return 'string'
  if (typeof value === 'boolean') return 'boolean'
  if (typeof value === 'number') return Number.isSafeInteger(value) ? 'integer' : 'float'
  return 'json'
}

/** The values by key, as devices get them. */
export const valuesOf = (entries: Configuration['entries']): Record<string, unknown> =>
  Object.fromEntries(Object.entries(entries).map(([key, { value }]) => [key, value]))

/** The payload that is published to the device. */
export const documentOf = (version: number, entries: Configuration['entries']): string =>
  JSON.stringify({ version, configuration: valuesOf(entries) })

/** A configuration as answers show it. */
export const configurationView = ({ version, entries, reportedVersion, reportedAt }: Configuration) => ({
  version,
  reported_version: reportedVersion,
  reported_at: reportedAt === null ? null : formatMillis(reportedAt),
  configuration: entries,
})

const entryOf = ({ value, dataType }: { value: unknown; dataType: DataType }, now: number): Entry => ({
  value,
  data_type: dataType,
  updated_at: formatMillis(now),
})

/** The entries of a change by key, null for a key to delete. @param now milliseconds since the epoch. */
export const entriesOf = (changes: Changes, now: number): Record<string, Entry | null> =>
  Object.fromEntries(
    Object.entries(changes).map(([key, change]) => [key, change === null ? null : entryOf(change, now)]),
  )

const refusal = (message: string, detail: string) =>
  new AppError('VALIDATION_FAILED', message, { details: [{ path: '', message: detail }] })

/**
 * The entries after a change.
 * @param now milliseconds since the epoch.
 * @throws {AppError} VALIDATION_FAILED above 128 keys, and above 128 KiB as a published document.
 */
export function applyChanges(before: Configuration, changes: Changes, now: number): Record<string, Entry> {
  const entries = new Map(Object.entries(before.entries))
  for (const [key, change] of Object.entries(changes)) {
    if (change === null) entries.delete(key)
    else entries.set(key, entryOf(change, now))
  }
  if (entries.size > maxKeys) {
    throw refusal(
      `A device has at most ${maxKeys} configuration keys.`,
      `makes ${entries.size} keys: at most ${maxKeys} are kept`,
    )
  }
  const after = Object.fromEntries(entries)
  const bytes = Buffer.byteLength(documentOf(before.version + 1, after))
  if (bytes > maxDocumentBytes) {
    throw refusal(
      'The configuration is too large for one message to the device.',
      `makes ${bytes} bytes: at most ${maxDocumentBytes} reach a device`,
    )
  }
  return after
}
