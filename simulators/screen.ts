/** A block of lines at the bottom of a terminal that is drawn again in place. */

export interface Terminal {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
  write(text: string): unknown
}

/** Begins a command to the terminal. */
const csi = '\u001b['
/** Terminals that know this mode show a frame when it is complete; the others ignore it. */
const beginFrame = `${csi}?2026h`
const endFrame = `${csi}?2026l`
const hideCursor = `${csi}?25l`
const showCursor = `${csi}?25h`
const eraseRestOfLine = `${csi}K`
const eraseBelow = `${csi}J`
const up = (lines: number) => (lines > 0 ? `${csi}${lines}A` : '')

const defaultColumns = 80
const defaultRows = 24

export class Screen {
  readonly #out: Terminal
  /** Lines of the last frame; the cursor stands below them. */
  #drawn = 0
  /** A terminal that became narrower has broken the lines of the last frame. */
  #width = 0

  constructor(out: Terminal) {
    this.#out = out
  }

  /** Lines that are too long are cut: a line that the terminal breaks could not be drawn over. */
  draw(lines: readonly string[]): void {
    const width = Math.max(1, this.#out.columns ?? defaultColumns)
    const shown = lines.slice(0, Math.max(1, (this.#out.rows ?? defaultRows) - 1))
    const broken = this.#width > width ? this.#drawn * Math.ceil(this.#width / width) : this.#drawn
    const text = shown.map((line) => `${line.slice(0, width - 1)}${eraseRestOfLine}\n`).join('')
    this.#out.write(`${beginFrame}${hideCursor}\r${up(broken)}${text}${eraseBelow}${endFrame}`)
    this.#drawn = shown.length
    this.#width = width
  }

  /** Removes the frame, and shows the cursor again. */
  clear(): void {
    if (this.#width === 0) return
    this.#out.write(`\r${up(this.#drawn)}${eraseBelow}${showCursor}`)
    this.#drawn = 0
    this.#width = 0
  }
}
