/** A terminal that understands what the simulator writes: it shows what a person would see. */

export class FakeTerminal {
  readonly isTTY = true
  columns: number
  rows: number
  /** Bytes written. */
  written = 0
  readonly #lines: string[] = ['']
  #row = 0
  #column = 0

  constructor(columns = 80, rows = 24) {
    this.columns = columns
    this.rows = rows
  }

  /** What stands on it, without empty lines at the end. */
  get lines(): string[] {
    return this.#lines.join('\n').trimEnd().split('\n')
  }

  write(text: string): void {
    this.written += text.length
    for (const [part] of text.matchAll(/\u001b\[\??\d*[A-Za-z]|[\r\n]|[^\u001b\r\n]+/g)) this.#apply(part)
  }

  #apply(part: string): void {
    if (part === '\r') this.#column = 0
    else if (part === '\n') {
      this.#row++
      this.#column = 0
      this.#lines[this.#row] ??= ''
    } else if (part.endsWith('A')) this.#row -= Number(/\d+/.exec(part)?.[0] ?? 1)
    else if (part.endsWith('K')) this.#lines[this.#row] = this.#line.slice(0, this.#column)
    else if (part.endsWith('J')) {
      this.#lines[this.#row] = this.#line.slice(0, this.#column)
      this.#lines.length = this.#row + 1
    } else if (!part.startsWith('\u001b')) this.#print(part)
  }

  get #line(): string {
    return this.#lines[this.#row] ?? ''
  }

  #print(text: string): void {
    for (const character of text) {
      if (this.#column >= this.columns) this.#apply('\n')
      this.#lines[this.#row] =
        this.#line.slice(0, this.#column).padEnd(this.#column) +
        character +
        this.#line.slice(this.#column + 1)
      this.#column++
    }
  }
}
