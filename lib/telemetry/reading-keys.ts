/**
 * Keys by which a reading is recognised when it comes again. The key of a device's own `message_id` also has a digest of the
 * reading: a device that counts from the start again after a reboot sends other readings under ids that it used before.
 */
import { hash } from 'node:crypto'
import type { Reading } from './reading.ts'

/** Characters of a digest: 96 bits, which only a device itself could make collide, against its own readings. */
const digestLength = 16

/** A digest of a text, of letters, digits, `-` and `_`. */
const digestOf = (text: string): string => hash('sha256', text, 'base64url').slice(0, digestLength)

/**
 * A digest of a value of JSON, nested as deeply as it may be: `JSON.stringify` calls itself, and ends with a full stack at some
 * thousand levels.
 */
export const digestOfJson = (value: unknown): string => {
  const parts: string[] = []
  const left: unknown[] = [value]
  while (left.length > 0) {
    const next = left.pop()
    if (typeof next !== 'object' || next === null) parts.push(JSON.stringify(next) ?? '')
    else {
      // The number of values that follow, or their names, tells where a list or an object ends.
      parts.push(Array.isArray(next) ? `[${next.length}` : `{${JSON.stringify(Object.keys(next))}`)
      for (const inside of Object.values(next).reverse()) left.push(inside)
    }
  }
  return digestOf(parts.join('\n'))
}

/** Begins the keys of message ids. The keys of earlier versions begin with `m:` and have no digest. */
const idMark = 'i:'

/** Entries of the metadata that we add: they tell how and when a message came, not what it says. */
const ourMetadata: ReadonlySet<string> = new Set(['subtopic', 'device_time'])

const metadataText = (metadata: Reading['metadata']): string =>
  metadata === undefined
    ? ''
    : JSON.stringify(Object.entries(metadata).filter(([name]) => !ourMetadata.has(name))).slice(1, -1)

/**
 * The key of a reading with a `message_id`.
 * @param hasOwnTime whether the device gave the time. Otherwise the time differs from one sending to the next, and is left out.
 */
export function keyOfMessageId(
  messageId: string,
  { time, fields, metadata }: Reading,
  hasOwnTime: boolean,
): string {
  const content = `${JSON.stringify(fields)}\n${metadataText(metadata)}\n${hasOwnTime ? time : ''}`
  // JSON text has no line break, so that the first one of the key ends the id.
  return `${idMark}${JSON.stringify(messageId)}\n${digestOf(content)}`
}

/** The part of a key that all readings with the same `message_id` share; undefined for a key of another kind. */
export const familyOfKey = (key: string): string | undefined =>
  key.startsWith(idMark) ? key.slice(0, key.indexOf('\n') + 1) : undefined

/** The key that an earlier version gave to every reading with this `message_id`; undefined for a key of another kind. */
export const earlierKeyOf = (key: string): string | undefined => {
  const family = familyOfKey(key)
  return family === undefined ? undefined : `m:${JSON.parse(family.slice(idMark.length)) as string}`
}

/** A request that its sender may send again, known by its Idempotency-Key. */
export interface KeyedRequest {
  readonly key: string
  /** Of its body: another body under the same key is refused. */
  readonly digest: string
}
