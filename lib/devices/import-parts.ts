/** Splits an import file into parts that every server takes: a deployed one takes 1,000 rows at once. */

const rowsPerPart = 1000
/** Characters of one part, well below the 4 MiB that a server takes. */
const charactersPerPart = 1_000_000

export interface ImportPart {
  readonly content: string
  /** The row of the file for a row of the part. */
  rowOf(row: number): number
}

/** The rows of a CSV: a line break within quotes belongs to its row. */
function* csvRows(text: string): Generator<string> {
  let from = 0
  let quoted = false
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '"') quoted = !quoted
    else if (character === '\n' && !quoted) {
      yield text.slice(from, at + 1)
      from = at + 1
    }
  }
  if (from < text.length) yield text.slice(from)
}

function* lines(text: string): Generator<string> {
  for (const line of text.split('\n')) yield `${line}\n`
}

/** @returns parts in the order of the file; each part of a CSV begins with the header. */
export function* splitImport(text: string, format: 'csv' | 'ndjson'): Generator<ImportPart> {
  const rows = format === 'csv' ? csvRows(text) : lines(text)
  const header = format === 'csv' ? (rows.next().value ?? '') : ''
  const headerRows = format === 'csv' ? 1 : 0
  let part: string[] = []
  let size = 0
  let before = headerRows
  const finish = (): ImportPart => {
    const first = before
    const finished = { content: header + part.join(''), rowOf: (row: number) => row - headerRows + first }
    before += part.length
    part = []
    size = 0
    return finished
  }
  let isAnyFinished = false
  for (const row of rows) {
    if (part.length === rowsPerPart || (size > 0 && size + row.length > charactersPerPart)) {
      isAnyFinished = true
      yield finish()
    }
    part.push(row)
    size += row.length
  }
  if (part.some((row) => row.trim() !== '') || !isAnyFinished) yield finish()
}
