/**
 * The vocabulary of telemetry. A reading is what one device measured at one instant: named fields, one value each.
 * One device, one time and one field are one value; the last one written wins.
 */

/** A finite number (always a float), a boolean, or a string of at most 4 KiB of UTF-8. */
export type FieldValue = number | string | boolean

export interface Reading {
  /** Nanoseconds since 1970-01-01T00:00:00Z. */
  readonly time: bigint
  /** 1–256 fields, none named like a reserved word, none `null`. */
  readonly fields: Readonly<Record<string, FieldValue>>
  /** At most 32 entries of the device, as strings, beside our own: `subtopic` of MQTT, and `device_time` of a wrong clock. */
  readonly metadata: Readonly<Record<string, string>> | undefined
}

/** Why one reading of a message was rejected; `index` counts from 0 within the message. */
export interface Rejection {
  readonly index: number
  readonly code: 'VALIDATION_FAILED' | 'TOO_OLD'
  readonly message: string
  /** Why none of its values could be kept, each with the path inside its item. */
  readonly details: readonly { path: string; message: string }[]
}

/** What can be left out of a stored reading, or changed in it. Clients see these codes: they only grow. */
export const warningCodes = [
  /** Bytes or halves of characters that are no Unicode became U+FFFD. */
  'INVALID_UTF8',
  /** The value is stored under another name, because of its characters. */
  'NAME_CHANGED',
  /** Left out: another value of the reading has this name. */
  'NAME_CLASH',
  /** Left out: the name is empty or too long. */
  'NAME_INVALID',
  /** Left out: the value is no finite number, or a string that is too long. */
  'VALUE_INVALID',
  /** Left out: the reading has the largest number of fields. */
  'TOO_MANY_FIELDS',
  /** An entry of the metadata is left out: its value is no finite number, or a string that is too long. */
  'METADATA_INVALID',
  /** An entry of the metadata is left out: the reading has the largest number of entries. */
  'TOO_MUCH_METADATA',
  /** The device's clock cannot be right: the time of arrival is stored, the device's as metadata `device_time`. */
  'CLOCK_WRONG',
  /** What should be a time is none: it is kept as metadata, and the time of arrival is stored. */
  'TIME_INVALID',
  /** What should be the id of the message is none: it is kept as metadata. */
  'MESSAGE_ID_INVALID',
  /** Left out: SenML has no such part of a record. */
  'LABEL_UNKNOWN',
  /** The device used the id of this message for another reading: both are stored. */
  'MESSAGE_ID_REUSED',
  /** Left out: the device has the largest number of field names. */
  'FIELD_LIMIT',
  /** The reading has further warnings, which are only counted. */
  'MORE_WARNINGS',
] as const

export type WarningCode = (typeof warningCodes)[number]

/** What was left out or changed in a reading that is stored. */
export interface Warning {
  /** Position of the reading in its message, from 0. What stands beside a batch comes after its last item. */
  readonly index: number
  /** Inside the reading, in dotted form and as sent, at most 150 characters; empty for the whole reading. */
  readonly path: string
  readonly code: WarningCode
  /** Half a sentence that follows the path; without a value of the message. */
  readonly message: string
}

const isSorted = (names: readonly string[]): boolean =>
  names.every((name, at) => at === 0 || (names[at - 1] as string) < name)

/** The same entries in the order of their names, by UTF-16 code units. */
export function sortedByName<T>(entries: Readonly<Record<string, T>>): Readonly<Record<string, T>> {
  const names = Object.keys(entries)
  if (isSorted(names)) return entries
  return Object.fromEntries(names.sort().map((name) => [name, entries[name] as T]))
}
