/** What one device in the field sends, and what has to be found again. Shapes are those of the products, all values are ours. */

export type Fields = Readonly<Record<string, number | string | boolean>>

export interface StoredReading {
  readonly fields: Fields
  readonly metadata?: Readonly<Record<string, string>>
  /** Milliseconds since the epoch; undefined for the time of arrival. */
  readonly time?: number
}

export interface DevicePayload {
  /** Product and kind of the message. */
  readonly name: string
  /** Content type over HTTP; `application/json` by default. */
  readonly contentType?: string
  /** Time zone of the device; UTC by default. */
  readonly timezone?: string
  /** @param now a whole second shortly before the message is sent, ms since the epoch. Bytes are sent as they are. */
  readonly send: (now: number) => unknown
  readonly stored: (now: number) => readonly StoredReading[]
  /** `CODE path` of every warning. */
  readonly warnings?: readonly string[]
}

interface More {
  readonly metadata?: Readonly<Record<string, string>>
  readonly warnings?: readonly string[]
  readonly contentType?: string
}

/** A message that names no time and is one reading. */
export const untimed = (
  name: string,
  send: unknown,
  fields: Fields,
  { metadata, ...more }: More = {},
): DevicePayload => ({
  name,
  send: () => send,
  stored: () => [{ fields, ...(metadata && { metadata }) }],
  ...more,
})

/** The bytes of a message, for those that `JSON.stringify` would not write. */
export const bytesOf = (payload: unknown): Uint8Array =>
  payload instanceof Uint8Array ? payload : Buffer.from(JSON.stringify(payload))

const pad = (text: number) => String(text).padStart(2, '0')

/** Local time as devices write it, without an offset. @param offsetHours ahead of UTC. */
export const localTime = (ms: number, offsetHours = 0): string =>
  new Date(ms + offsetHours * 3_600_000).toISOString().slice(0, 19)

/** ISO 8601 with an offset. */
export const offsetTime = (ms: number, offsetHours: number): string =>
  `${localTime(ms, offsetHours)}${offsetHours < 0 ? '-' : '+'}${pad(Math.abs(offsetHours))}:00`
