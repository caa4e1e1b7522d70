/** Texts of names and values: what InfluxDB would lose is replaced before a write and restored after a query. */

/** From the private use area of Unicode. The digit behind it says which text it replaces. */
const marker = '\uE00D'
const replaced: Readonly<Record<string, string>> = { 0: '\r', 1: marker, 2: '' }

/**
 * Query answers are CSV in which a carriage return inside a value is lost. Flux's limit() panics on an empty string that is
 * not the first of its table.
 */
export const encodeText = (text: string): string => {
  if (text === '') return `${marker}2`
  return /[\r\uE00D]/.test(text) ? text.replaceAll(marker, `${marker}1`).replaceAll('\r', `${marker}0`) : text
}

/** Line protocol has no empty tag, a control character ends a line, and a backslash at the end escapes the next separator. */
export const encodeTag = (text: string): string => {
  const encoded = encodeText(text.replace(/\p{Cc}/gu, ' '))
  return encoded.endsWith('\\') ? `${encoded}${marker}2` : encoded
}

/** Restores a text of a query answer. The CSV writes a newline inside a value as CRLF. */
export const decodeText = (text: string): string =>
  /[\r\uE00D]/.test(text)
    ? text.replaceAll('\r\n', '\n').replace(/\uE00D([012])/g, (_all, digit: string) => replaced[digit] ?? '')
    : text

const keySpecial = /[,= \n\r\t]/
const keyEscapes: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** Escapes the key of a field, or the value of a tag. */
export const escapeKey = (text: string): string =>
  keySpecial.test(text)
    ? text.replace(/[,= \n\r\t]/g, (special) => keyEscapes[special] ?? `\\${special}`)
    : text

/** A text as the value of a field. */
export const quote = (text: string): string =>
  /["\\]/.test(text) ? `"${text.replace(/["\\]/g, '\\$&')}"` : `"${text}"`
