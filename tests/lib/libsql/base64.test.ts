import { expect, it } from 'vitest'
import { Base64 } from '../../../lib/libsql/base64.ts'

it.each([[[]], [[0]], [[255, 254]], [[1, 2, 3]], [[...Array(300).keys()].map((n) => n % 256)]])(
  'turns bytes into text and back: %j',
  (given) => {
    const bytes = new Uint8Array(given)
    const text = Base64.fromUint8Array(bytes)
    expect(text).toBe(Buffer.from(given).toString('base64'))
    expect(Base64.toUint8Array(text)).toEqual(bytes)
    expect(Base64.toUint8Array(text.replace(/=+$/, ''))).toEqual(bytes)
    // Nothing else of the memory of the process lies in its buffer.
    expect(Base64.toUint8Array(text).buffer.byteLength).toBe(bytes.length)
  },
)
