/** JSON from bytes, with one clear sentence for each way it can be wrong. */
import { AppError } from './errors.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true })

/**
 * @throws {AppError} MALFORMED_JSON for an empty body, bytes that are not UTF-8, and text that is not JSON. The sentence
 * holds nothing of the body.
 */
export function decodeJson(bytes: Uint8Array): unknown {
  if (bytes.length === 0) throw new AppError('MALFORMED_JSON', 'The body is empty: JSON is expected.')
  let text: string
  try {
    text = utf8.decode(bytes)
  } catch {
    throw new AppError('MALFORMED_JSON', 'The body is not valid UTF-8.')
  }
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new AppError('MALFORMED_JSON', 'The body is not valid JSON.')
  }
}
