/** The range of time that a chart shows, and the requests that fill it with no more points than it has pixels. */

/** Milliseconds since the epoch; `from` belongs to the range, `to` does not. */
export interface Span {
  readonly from: number
  readonly to: number
}

/** The last so many milliseconds: it moves on with the clock. */
export interface MovingRange {
  readonly lastMs: number
}

/** What the reader chose; a span stays. */
export type Range = MovingRange | Span

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

/** The ranges to pick from, by the name that the address of the page holds. */
export const presets: readonly { readonly name: string; readonly label: string; readonly ms: number }[] = [
  { name: '5m', label: '5 minutes', ms: 5 * minute },
  { name: '15m', label: '15 minutes', ms: 15 * minute },
  { name: '1h', label: '1 hour', ms: hour },
  { name: '6h', label: '6 hours', ms: 6 * hour },
  { name: '24h', label: '24 hours', ms: day },
  { name: '7d', label: '7 days', ms: 7 * day },
  { name: '30d', label: '30 days', ms: 30 * day },
  { name: '90d', label: '90 days', ms: 90 * day },
  { name: '1y', label: '1 year', ms: 365 * day },
]

/** Zooming ends at these widths, ms. */
const narrowest = 10_000
const widest = 5 * 365 * day

export const isMoving = (range: Range): range is MovingRange => 'lastMs' in range

/** @param now milliseconds since the epoch. */
export const spanOf = (range: Range, now: number): Span =>
  isMoving(range) ? { from: now - range.lastMs, to: now } : range

/** The range as the address of the page holds it: the name of a preset, or `from-to` in seconds since the epoch. */
export const writeRange = (range: Range): string => {
  if (!isMoving(range)) return `${Math.floor(range.from / 1000)}-${Math.ceil(range.to / 1000)}`
  return presets.find(({ ms }) => ms === range.lastMs)?.name ?? '24h'
}

/** Reads what {@link writeRange} wrote; anything else is undefined. */
export function readRange(text: string): Range | undefined {
  const preset = presets.find(({ name }) => name === text)
  if (preset !== undefined) return { lastMs: preset.ms }
  const [, from, to] = /^(\d{1,11})-(\d{1,11})$/.exec(text) ?? []
  const span = { from: Number(from) * 1000, to: Number(to) * 1000 }
  return span.to > span.from ? span : undefined
}

/** Moves a span by a part of its width: -0.25 goes a quarter back. It ends at `now`, ms since the epoch. */
export function panned({ from, to }: Span, part: number, now: number): Span {
  const by = Math.min((to - from) * part, now - to)
  return { from: from + by, to: to + by }
}

/** The span with another width: a factor of 0.5 zooms in. @param at the place that stays, from 0 (left) to 1. */
export function zoomed({ from, to }: Span, factor: number, at: number, now: number): Span {
  const width = Math.min(widest, Math.max(narrowest, (to - from) * factor))
  const start = from + (to - from - width) * at
  const end = Math.min(start + width, now)
  return { from: end - width, to: end }
}

/** Windows with a name that the API knows; each divides the next but one, so that zooming moves few bounds. */
const windows: readonly (readonly [string, number])[] = [
  ['1s', 1000],
  ['2s', 2000],
  ['5s', 5000],
  ['10s', 10_000],
  ['15s', 15_000],
  ['30s', 30_000],
  ['1m', minute],
  ['2m', 2 * minute],
  ['5m', 5 * minute],
  ['10m', 10 * minute],
  ['15m', 15 * minute],
  ['30m', 30 * minute],
  ['1h', hour],
  ['2h', 2 * hour],
  ['3h', 3 * hour],
  ['6h', 6 * hour],
  ['12h', 12 * hour],
  ['24h', day],
  ['48h', 2 * day],
  ['96h', 4 * day],
]

export interface Window {
  /** As the API names it. Clock units: they begin at multiples of their length since the epoch. */
  readonly name: string
  readonly ms: number
}

/** The shortest window that gives at most one point for each pixel. @param pixels of the width of the plot. */
export function windowFor({ from, to }: Span, pixels: number): Window {
  const most = Math.min(2000, Math.max(100, pixels))
  const [name, ms] = windows.find(([, length]) => (to - from) / length <= most) ?? ['96h', 4 * day]
  return { name, ms }
}

/** Readings of a range that are shown one by one: an answer with more is replaced by windows. */
export const mostReadings = 3000

/** Ranges up to this one may be shown reading by reading, ms; in longer ones nobody could tell them apart. */
const longestRaw = 6 * hour

export const mayBeRaw = ({ from, to }: Span): boolean => to - from <= longestRaw

/** A range up to this long is read by one request, ms. */
const oneRequest = 14 * day

/**
 * The parts of a long range, the newest first, each twice as long as the one before: the chart fills from the right while the
 * server reads what is older. They meet at bounds of windows.
 */
export function partsOf({ from, to }: Span, windowMs: number): Span[] {
  if (to - from <= oneRequest) return [{ from, to }]
  const parts: Span[] = []
  let end = to
  for (let length = (to - from) / 12; end > from; length *= 2) {
    const start = Math.floor((end - length) / windowMs) * windowMs
    // What would be left for a last part is small: it comes with this one.
    const begin = start - from < length / 2 ? from : start
    parts.push({ from: begin, to: end })
    end = begin
  }
  return parts
}
