/** Values of readings as people read them. */

// A place on the earth needs seven digits, and a double that was made by a sum has noise behind more.
const number = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 7 })

export const numberText = (value: number): string => number.format(value)

/** Any value that a reading may have. */
export const valueText = (value: unknown): string => {
  if (typeof value === 'number') return numberText(value)
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return String(value)
}
