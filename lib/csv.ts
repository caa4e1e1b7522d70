/** CSV as RFC 4180 says. */

/** One cell. Null and undefined are empty, objects are JSON. */
export const csvCell = (value: unknown): string => {
  if (value === null || value === undefined) return ''
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/**
 * A text that a spreadsheet would run as a formula, with an apostrophe before it; anything else unchanged. For files that people
 * open: names and texts come from devices. Files for programs stay exact.
 */
export const withoutFormula = (value: unknown): unknown =>
  typeof value === 'string' && /^[=+\-@\t\r\n]/.test(value) && !Number.isFinite(Number(value))
    ? `'${value}`
    : value

/** One row, with its line break. Null and undefined are empty cells. */
export const csvLine = (cells: readonly unknown[]): string => `${cells.map(csvCell).join(',')}\r\n`
