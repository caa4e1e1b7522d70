/** JSON from bytes, with one clear sentence for each way it can be wrong. */
import { isUtf8 } from 'node:buffer'
import { AppError } from './errors.ts'

const byteOrderMark = 0xfeff

/**
 * @throws {AppError} MALFORMED_JSON for an empty body, bytes that are not UTF-8, and text that is not JSON. The sentence
 * holds nothing of the body.
 */
export function decodeJson(bytes: Uint8Array): unknown {
  if (bytes.length === 0) throw new AppError('MALFORMED_JSON', 'The body is empty: JSON is expected.')
  if (!isUtf8(bytes)) throw new AppError('MALFORMED_JSON', 'The body is not valid UTF-8.')
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
  try {
    return JSON.parse(text.charCodeAt(0) === byteOrderMark ? text.slice(1) : text) as unknown
  } catch {
    throw new AppError('MALFORMED_JSON', 'The body is not valid JSON.')
  }
}
