/**
 * Takes the values out of the stored texts of many readings, without an object for each of them. Texts have no blanks between
 * their parts, since `JSON.stringify` and SQLite wrote them; any other text is left to `JSON.parse`.
 */
import type { FieldValue } from '../reading.ts'

const [quote, backslash, comma, colon, minus, point, zero, nine] = [34, 92, 44, 58, 45, 46, 48, 57]
const [openBrace, closeBrace, t, f, blank] = [123, 125, 116, 102, 32]

/** What {@link eachValue} and {@link eachValueOf} throw for texts of another form; {@link eachParsedValue} reads those. */
export const otherForm = new Error('A stored text has a form that only JSON.parse reads')

/** The index after the end of the JSON string that begins at `start`. @throws {@link otherForm} when it has no end. */
export const endOfString = (json: string, start: number): number => {
  for (let at = json.indexOf('"', start + 1); ; at = json.indexOf('"', at + 1)) {
    if (at < 0) throw otherForm
    let backslashes = 0
    while (json.charCodeAt(at - 1 - backslashes) === backslash) backslashes += 1
    if (backslashes % 2 === 0) return at + 1
  }
}

/** Below, whole numbers and these powers are exact, so that their quotient is rounded as the decimal number would be. */
const exactDigits = 15
const powersOfTen = Array.from({ length: exactDigits + 1 }, (_, exponent) => 10 ** exponent)

/** Reads a text from its beginning to its end. */
class Reader {
  readonly text: string
  at = 0

  constructor(text: string) {
    this.text = text
  }

  /** Digits, as a whole number. */
  digits(): number {
    const { text } = this
    let value = 0
    for (let code = text.charCodeAt(this.at); code >= zero && code <= nine; code = text.charCodeAt(this.at)) {
      value = value * 10 + code - zero
      this.at += 1
    }
    return value
  }

  value(): FieldValue {
    const code = this.text.charCodeAt(this.at)
    if (code === quote) {
      const start = this.at
      this.at = endOfString(this.text, start)
      return JSON.parse(this.text.slice(start, this.at)) as string
    }
    if (code === t || code === f) {
      this.at += code === t ? 4 : 5
      return code === t
    }
    if (code !== minus && !(code >= zero && code <= nine)) throw otherForm
    return this.#number(code === minus)
  }

  #number(isNegative: boolean): number {
    const { text } = this
    const start = this.at
    let at = isNegative ? start + 1 : start
    const first = at
    let whole = 0
    let pointAt = -1
    let code = text.charCodeAt(at)
    for (; (code >= zero && code <= nine) || code === point; code = text.charCodeAt(at)) {
      if (code === point) pointAt = at
      else whole = whole * 10 + code - zero
      at += 1
    }
    const isPlain = (code === comma || code === closeBrace) && at - first <= exactDigits
    while (code !== comma && code !== closeBrace) {
      if (at >= text.length) throw otherForm
      at += 1
      code = text.charCodeAt(at)
    }
    this.at = at
    if (!isPlain) return Number(text.slice(start, at))
    const size = pointAt < 0 ? whole : whole / (powersOfTen[at - 1 - pointAt] as number)
    return isNegative ? -size : size
  }
}

/** In SQL: what separates readings. Texts have none, because in a string it is an escape sequence. */
export const lineBreak = 'char(10)'

/** Gets a value; answers whether it wants no more. */
export type TakeValue = (second: number, name: string, value: FieldValue) => boolean

/**
 * Hands over the values of readings in their order.
 * @param texts of each reading its time in whole seconds and its fields, as a JSON object; line breaks in between.
 * @throws {@link otherForm}
 */
export function eachValue(texts: string, take: TakeValue): void {
  const reader = new Reader(texts)
  /** Most readings have the fields of the one before: their names need not be cut out again. */
  const names: string[] = []
  const tokens: string[] = []
  for (; reader.at < texts.length; reader.at += 2) {
    const second = reader.digits()
    for (let place = 0; ; place += 1) {
      const code = texts.charCodeAt(reader.at)
      if (code === closeBrace && place > 0) break
      if (code !== (place === 0 ? openBrace : comma)) throw otherForm
      reader.at += 1
      let token = tokens[place]
      if (token === undefined || !texts.startsWith(token, reader.at)) {
        token = tokenAt(texts, reader.at)
        tokens[place] = token
        names[place] = JSON.parse(token.slice(0, -1)) as string
      }
      reader.at += token.length
      if (take(second, names[place] as string, reader.value())) return
    }
  }
}

/** A name with its quotes and the colon. */
const tokenAt = (texts: string, start: number): string => {
  if (texts.charCodeAt(start) !== quote) throw otherForm
  const end = endOfString(texts, start)
  if (texts.charCodeAt(end) !== colon) throw otherForm
  return texts.slice(start, end + 1)
}

/** Whether a name begins at an index where the text has a quote: else this quote ends a string, or is inside of one. */
const isBeginOfName = (texts: string, at: number): boolean => {
  const before = texts.charCodeAt(at - 1)
  if (before === blank) throw otherForm
  return before === openBrace || before === comma
}

/** Hands over the values of one field, as {@link eachValue}. */
export function eachValueOf(texts: string, field: string, take: TakeValue): void {
  const reader = new Reader(texts)
  // Inside of a string the closing quote has a backslash before it, so that this is the end of a name at least.
  const token = `${JSON.stringify(field)}:`
  const next = (from: number): number => {
    let at = texts.indexOf(token, from)
    while (at >= 0 && !isBeginOfName(texts, at)) at = texts.indexOf(token, at + 1)
    return at
  }
  let found = next(0)
  while (found >= 0) {
    const second = reader.digits()
    const end = texts.indexOf('\n', reader.at)
    if (end < 0 || found < end) {
      reader.at = found + token.length
      if (take(second, field, reader.value())) return
      found = next(reader.at)
    }
    if (end < 0) return
    reader.at = end + 1
  }
}

/** Hands over the values of all fields, or of one, as {@link eachValue}, also of texts with blanks between their parts. */
export function eachParsedValue(texts: string, field: string | undefined, take: TakeValue): void {
  for (const line of texts.split('\n')) {
    const brace = line.indexOf('{')
    const fields = JSON.parse(line.slice(brace)) as Record<string, FieldValue>
    const second = Number(line.slice(0, brace))
    for (const name in fields)
      if ((field === undefined || name === field) && take(second, name, fields[name] as FieldValue)) return
  }
}
