/** Prints results: tables for people, JSON for programs. Messages beside the result go to standard error. */
import { once } from 'node:events'

export type Cell = string | number | boolean | null | undefined

const cellText = (cell: Cell): string => {
  if (cell === null || cell === undefined || cell === '') return '-'
  // Names of devices are free text: control characters could move the cursor of the terminal.
  return String(cell).replaceAll(/\p{Cc}/gu, '�')
}

/** Columns under their names, as wide as their longest cell; numbers stand to the right. */
export function tableOf(columns: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const texts = rows.map((row) => row.map(cellText))
  const widths = columns.map((name, at) => Math.max(name.length, ...texts.map((row) => row[at]?.length ?? 0)))
  const isNumber = columns.map((_, at) => rows.length > 0 && rows.every((row) => typeof row[at] === 'number'))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, at) => (isNumber[at] ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0)))
      .join('  ')
      .trimEnd()
  return [line(columns), ...texts.map(line)].map((text) => `${text}\n`).join('')
}

export class Output {
  readonly isJson: boolean

  constructor(isJson: boolean) {
    this.isJson = isJson
  }

  /** @param json printed with `--json`. */
  result(json: unknown, forPeople: () => string): Promise<void> {
    return this.write(this.isJson ? `${JSON.stringify(json, undefined, 2)}\n` : forPeople())
  }

  table(json: unknown, columns: readonly string[], rows: readonly (readonly Cell[])[]): Promise<void> {
    return this.result(json, () => (rows.length === 0 ? 'There are none.\n' : tableOf(columns, rows)))
  }

  /** Names with their values, one line each. */
  fields(json: unknown, pairs: readonly (readonly [name: string, value: Cell])[]): Promise<void> {
    const width = Math.max(...pairs.map(([name]) => name.length))
    return this.result(json, () =>
      pairs.map(([name, value]) => `${name.padEnd(width)}  ${cellText(value)}\n`).join(''),
    )
  }

  /** Waits where the reader is slower. */
  async write(text: string): Promise<void> {
    if (!process.stdout.write(text)) await once(process.stdout, 'drain')
  }

  /** A message that is no part of the result. */
  note(text: string): void {
    process.stderr.write(`${text}\n`)
  }
}
