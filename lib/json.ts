/** Decodes JSON from bytes; each kind of fault has a sentence of its own. */
import { isUtf8 } from 'node:buffer'
import type * as z from 'zod'
import { AppError } from './errors.ts'

const byteOrderMark = 0xfeff

/** Bytes as text; those that are not UTF-8 become U+FFFD. */
export const decodeText = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()

const blank = 0x20

/** The bytes without the NULs and blanks that devices with fixed buffers send behind their text. */
export const withoutPadding = (bytes: Uint8Array): Uint8Array => {
  let end = bytes.length
  // Every control character counts: JSON ends with a printable one.
  while (end > 0 && (bytes[end - 1] ?? 0) <= blank) end -= 1
  return bytes.subarray(0, end)
}

/** @throws {AppError} MALFORMED_JSON for text that is empty or not JSON. The message contains no part of the text. */
export function parseJson(text: string): unknown {
  if (text === '') throw new AppError('MALFORMED_JSON', 'The body is empty: JSON is expected.')
  try {
    return JSON.parse(text.charCodeAt(0) === byteOrderMark ? text.slice(1) : text) as unknown
  } catch {
    throw new AppError('MALFORMED_JSON', 'The body is not valid JSON.')
  }
}

/** @throws {AppError} MALFORMED_JSON as {@link parseJson}, and for bytes that are not UTF-8. */
export function decodeJson(bytes: Uint8Array): unknown {
  if (!isUtf8(bytes)) throw new AppError('MALFORMED_JSON', 'The body is not valid UTF-8.')
  return parseJson(decodeText(bytes))
}

/** Levels of lists and objects in a body that has a schema. Schemas and `JSON.stringify` call themselves for each level. */
export const maxLevels = 100

/** Whether a value has at most so many levels of lists and objects. */
export const isNestedWithin = (levels: number, value: unknown): boolean =>
  typeof value !== 'object' ||
  value === null ||
  (levels > 0 && Object.values(value).every((inside) => isNestedWithin(levels - 1, inside)))

/**
 * A preprocessor for records that refuses the key `__proto__`: zod leaves it out before it checks the keys, so that nobody would
 * hear of it. @param message what the error says.
 */
export const refuseProto =
  (message: string) =>
  (value: unknown, { addIssue }: z.RefinementCtx): unknown => {
    if (typeof value === 'object' && value !== null && Object.hasOwn(value, '__proto__'))
      addIssue({ code: 'custom', path: ['__proto__'], message })
    return value
  }
