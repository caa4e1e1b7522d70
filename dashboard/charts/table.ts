/** The points of a chart: one time for each row, and a column for each field. */

/** Null breaks the line; undefined does not. */
export type Value = number | null | undefined

/** A row as the API gives it: values by field, beside the time and perhaps metadata. */
export type Row = Readonly<Record<string, unknown>> & { readonly timestamp: string }

/** Columns for the plot: seconds since the epoch, then a column for each field. */
export type Columns = [times: number[], ...values: Value[][]]

interface Point {
  /** Milliseconds since the epoch. */
  readonly time: number
  readonly values: ReadonlyMap<string, number>
}

/** Points that a table keeps at most: the oldest go first. */
const mostPoints = 20_000

const numberOf = (value: unknown): number | undefined => {
  if (typeof value === 'number') return value
  return typeof value === 'boolean' ? Number(value) : undefined
}

const pointOf = (row: Row, only?: string): Point => {
  const values = new Map<string, number>()
  for (const name in row) {
    if (name === 'timestamp' || name === 'metadata') continue
    const value = numberOf(row[name])
    if (value !== undefined) values.set(only ?? name, value)
  }
  return { time: Date.parse(row.timestamp), values }
}

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0

/** The usual distance of two points, ms. */
function usualStep(points: readonly (readonly [number, number])[]): number {
  const steps: number[] = []
  // A few hundred of them tell it as well as all.
  const stride = Math.max(1, Math.floor(points.length / 500))
  for (let at = 1; at < points.length; at += stride)
    steps.push((points[at]?.[0] ?? 0) - (points[at - 1]?.[0] ?? 0))
  return median(steps)
}

/** Times within the pauses of a line, ms since the epoch. */
function pausesOf(points: readonly (readonly [number, number])[], windowMs: number): number[] {
  const longest = Math.max(3 * usualStep(points), 1.5 * windowMs)
  const pauses: number[] = []
  for (let at = 1; at < points.length; at += 1) {
    const [before = 0, time = 0] = [points[at - 1]?.[0], points[at]?.[0]]
    if (time - before > longest) pauses.push(before + 1)
  }
  return pauses
}

/** Points of one device in the order of their times; a later value of the same time and field replaces the earlier one. */
export class Table {
  readonly #points = new Map<number, Map<string, number>>()
  #sorted: number[] | undefined = []
  #newest = Number.NEGATIVE_INFINITY

  get size(): number {
    return this.#points.size
  }

  /** The time of the newest point, ms since the epoch; minus infinity when there is none. */
  get newest(): number {
    return this.#newest
  }

  /** @param only the field that the rows' `value` belongs to. */
  add(rows: Iterable<Row>, only?: string): void {
    for (const row of rows) {
      const { time, values } = pointOf(row, only)
      if (values.size === 0 || Number.isNaN(time)) continue
      const known = this.#points.get(time)
      if (known === undefined) {
        this.#points.set(time, new Map(values))
        if (time > this.#newest && this.#sorted !== undefined) this.#sorted.push(time)
        else this.#sorted = undefined
        this.#newest = Math.max(this.#newest, time)
      } else for (const [name, value] of values) known.set(name, value)
    }
    if (this.#points.size > mostPoints) this.dropBefore(this.#times()[this.#points.size - mostPoints] ?? 0)
  }

  /** Forgets points that have left the chart. @param time ms since the epoch. */
  dropBefore(time: number): void {
    const times = this.#times()
    let dropped = 0
    while (dropped < times.length && (times[dropped] as number) < time) {
      this.#points.delete(times[dropped] as number)
      dropped += 1
    }
    if (dropped > 0) times.splice(0, dropped)
  }

  /** The fields that have a point. */
  fields(): Set<string> {
    const names = new Set<string>()
    for (const values of this.#points.values()) for (const name of values.keys()) names.add(name)
    return names
  }

  /** The values of a field, oldest first. */
  *values(field: string): Iterable<readonly [time: number, value: number]> {
    for (const time of this.#times()) {
      const value = this.#points.get(time)?.get(field)
      if (value !== undefined) yield [time, value]
    }
  }

  /**
   * Columns for the plot. A field that is not part of a point is `undefined` there, and its line goes on; where it pauses for
   * longer than usual a null breaks its line.
   * @param windowMs of points that are windows; 0 for readings.
   */
  columns(fields: readonly string[], windowMs: number): Columns {
    const columns = fields.map((field) => [...this.values(field)])
    const breaks = columns.map((points) => pausesOf(points, windowMs))
    const times = new Set<number>()
    for (const points of columns) for (const [time] of points) times.add(time)
    for (const pauses of breaks) for (const time of pauses) times.add(time)
    const rows = [...times].sort((a, b) => a - b)
    return [
      rows.map((time) => time / 1000),
      ...columns.map((points, at) => {
        const values = new Map<number, Value>(points)
        for (const time of breaks[at] ?? []) values.set(time, null)
        return rows.map((time) => values.get(time))
      }),
    ]
  }

  #times(): number[] {
    this.#sorted ??= [...this.#points.keys()].sort((a, b) => a - b)
    return this.#sorted
  }
}
