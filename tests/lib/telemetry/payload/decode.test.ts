import { describe, expect, it } from 'vitest'
import { AppError } from '../../../../lib/errors.ts'
import { decodePayload } from '../../../../lib/telemetry/payload/parse.ts'

const bytes = (text: string) => Buffer.from(text)
const bodyOf = (given: Uint8Array) => decodePayload(given).body

describe('the bytes of a message', () => {
  it.each([
    ['as they are', bytes('{"t":21.5}')],
    ['behind a byte order mark', Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), bytes('{"t":21.5}')])],
    ['before one NUL', bytes('{"t":21.5}\0')],
    ['before three NULs', bytes('{"t":21.5}\0\0\0')],
    ['between blanks, lines and NULs', bytes(' \r\n{"t":21.5}\n \0\t\0 ')],
    ['in a part of a larger buffer', bytes('xx{"t":21.5}\0yy').subarray(2, -2)],
  ])('are read %s', (_where, given) => {
    expect(decodePayload(given)).toEqual({ body: { t: 21.5 }, invalidUtf8: false })
  })

  it('that are not UTF-8 become U+FFFD, and this is said', () => {
    expect(decodePayload(Buffer.from('{"unit":"\xb0C","t":21}', 'latin1'))).toEqual({
      body: { unit: '\ufffdC', t: 21 },
      invalidUtf8: true,
    })
    expect(decodePayload(bytes('{"unit":"\ufffdC"}')).invalidUtf8).toBe(true)
    expect(decodePayload(bytes('{"unit":"°C"}')).invalidUtf8).toBe(false)
  })

  it('of a NUL inside of the text are no JSON, as an escape they are', () => {
    expect(() => bodyOf(bytes('{"t":\0 21.5}'))).toThrow(AppError)
    expect(bodyOf(bytes('{"t":"\\u0000"}'))).toEqual({ t: '\0' })
  })

  it.each([
    ['nothing', ''],
    ['only NULs', '\0\0'],
    ['only blanks', ' \n'],
    ['half an object', '{"t":'],
    ['text', 'temperature=21.5'],
    ['two objects', '{"t":1}{"t":2}'],
    ['NaN', '{"t":NaN}'],
  ])('that hold %s are refused without a part of them', (_what, text) => {
    let error: unknown
    try {
      decodePayload(bytes(text))
    } catch (thrown) {
      error = thrown
    }
    expect(error).toMatchObject({ code: 'MALFORMED_JSON' })
    expect((error as Error).message).toMatch(/^The body is (empty: JSON is expected|not valid JSON)\.$/)
  })
})
