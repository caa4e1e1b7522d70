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
  /** At most 32 entries, as strings; the MQTT subtopic stands here as `subtopic`. */
  readonly metadata: Readonly<Record<string, string>> | undefined
}

/** Why one reading of a message was refused; `index` counts from 0 within the message. */
export interface Rejection {
  readonly index: number
  readonly code: 'VALIDATION_FAILED' | 'TOO_OLD'
  readonly message: string
  /** Every bad field, each with the path inside its item. */
  readonly details: readonly { path: string; message: string }[]
}
