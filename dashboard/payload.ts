/** Payloads of messages as people can read them. */

/** The bytes of a Base64 text. */
export const bytesOf = (base64: string): Uint8Array =>
  Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))

export interface DecodedText {
  readonly text: string
  /** `json` is indented for reading. */
  readonly kind: 'json' | 'text'
  /** False when bytes were replaced that are no UTF-8. */
  readonly exact: boolean
}

export function textOf(bytes: Uint8Array): DecodedText {
  const raw = new TextDecoder().decode(bytes)
  const exact = !raw.includes('\ufffd')
  try {
    return { text: JSON.stringify(JSON.parse(raw), null, 2), kind: 'json', exact }
  } catch {
    return { text: raw, kind: 'text', exact }
  }
}

const bytesPerLine = 16
const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0')
const visible = (byte: number) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')

/** Offset, bytes and characters, 16 bytes in a line. @param most bytes that are shown. */
export function hexOf(bytes: Uint8Array, most: number): string {
  const lines: string[] = []
  for (let at = 0; at < Math.min(bytes.length, most); at += bytesPerLine) {
    const part = [...bytes.subarray(at, Math.min(at + bytesPerLine, most))]
    const digits = part.map((byte) => hex(byte, 2)).join(' ')
    lines.push(`${hex(at, 6)}  ${digits.padEnd(bytesPerLine * 3)} ${part.map(visible).join('')}`)
  }
  return lines.join('\n')
}
