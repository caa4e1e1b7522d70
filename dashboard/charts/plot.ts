/** The drawing of a chart: uPlot, with the colours of the page, and with ways to zoom and to pan. */
import uPlot from 'uplot'
import type { Axes } from './axes.ts'
import { unseenStretches } from './dots.ts'
import { panned, type Span, zoomed } from './range.ts'
import type { Columns } from './table.ts'
import { timeTexts } from './time-axis.ts'

/** One line. */
export interface Line {
  readonly field: string
  /** Place of its colour among those of the page, from 0. */
  readonly color: number
  /** A line of a boolean jumps instead of sloping. */
  readonly stepped: boolean
}

export interface PlotOptions {
  readonly lines: readonly Line[]
  readonly axes: Axes
  readonly height: number
  /** The time at the server, ms since the epoch: no chart goes beyond it. */
  readonly now: () => number
  /** The reader chose another span. */
  readonly onSpan: (span: Span) => void
  /** The reader points at a place of the columns; undefined when not. */
  readonly onCursor: (index: number | undefined) => void
}

/** Lines that have colours of their own; further ones share them. */
export const colorCount = 6

const minHeightPx = 120
/** Height of the axis of times, px. */
const timeAxisPx = 40

const styleOf = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

const byTheme = (name: string) => () => styleOf(name)

const stepped = uPlot.paths.stepped?.({ align: 1 })

/** Diameter of a dot, px. */
const dotPx = 7
/** Points that are farther apart have a dot each, px. */
const dotsApartPx = 24
/** A line that is shorter is not seen, px. */
const leastLinePx = 3

/**
 * A scale that fits its lines, with some air. A value that never changes gets air, too: on the left axis it stands above the
 * middle, on the right one below, so that the lines of two such fields do not hide each other.
 */
const fitted =
  (above: number) =>
  (_: uPlot, min: number | null, max: number | null): uPlot.Range.MinMax => {
    if (min === null || max === null) return [0, 1]
    if (max > min) return [min - (max - min) * 0.08, max + (max - min) * 0.08]
    const air = Math.abs(max) * 0.2 || 2
    return [min - air * above, max + air * (1 - above)]
  }

/** The points that have a dot where not all have one. */
const dotsOf = (plot: uPlot, line: number, areAllShown: boolean): number[] | null => {
  if (areAllShown) return null
  const [times, values = []] = [plot.data[0], plot.data[line]]
  const { min, max } = plot.scales.x ?? {}
  const secondsPerPx = ((max ?? 0) - (min ?? 0)) / Math.max(1, plot.over.clientWidth)
  return [...unseenStretches(times, values, leastLinePx * secondsPerPx)]
}

/** Digits behind the point that the increment has itself, so that no two values look alike. */
const digitsFor = (increment: number): number => {
  for (let digits = 0; digits < 8; digits += 1) {
    const shifted = increment * 10 ** digits
    if (shifted > 0.5 && Math.abs(shifted - Math.round(shifted)) < 1e-6) return digits
  }
  return 8
}

const compact = new Intl.NumberFormat(undefined, { notation: 'compact', maximumFractionDigits: 3 })

/** A format is dear to make, and each drawing needs some: one for each number of digits is kept. */
const formats = Array.from(
  { length: 9 },
  (_, digits) =>
    new Intl.NumberFormat(undefined, { minimumFractionDigits: digits, maximumFractionDigits: digits }),
)

const valueTexts = (values: readonly number[], increment: number): string[] => {
  const isLarge = values.some((value) => Math.abs(value) >= 100_000)
  const format = isLarge && increment >= 100 ? compact : formats[digitsFor(increment)]
  return values.map((value) => format?.format(value) ?? '')
}

const axis = (scale: 'left' | 'right', withGrid: boolean): uPlot.Axis => ({
  scale,
  side: scale === 'left' ? 3 : 1,
  size: (_, values) => 18 + 7 * Math.max(3, ...(values ?? []).map((value) => value.length)),
  stroke: byTheme('--muted'),
  font: `12px ${styleOf('--sans')}`,
  grid: { show: withGrid, stroke: byTheme('--line'), width: 1 },
  ticks: { show: false },
  values: (_, values, __, ___, increment) => valueTexts(values, increment),
})

const scaleOf = (axes: Axes, field: string) => (axes.right.includes(field) ? 'right' : 'left')

/** A chart in an element. Times are seconds inside of uPlot, and milliseconds outside. */
export class Plot {
  readonly #place: HTMLElement
  readonly #options: PlotOptions
  readonly #plot: uPlot
  readonly #ended = new AbortController()
  readonly #resized: ResizeObserver
  #span: Span = { from: 0, to: 1000 }
  #drag: { readonly x: number; readonly span: Span } | undefined

  constructor(place: HTMLElement, options: PlotOptions) {
    this.#place = place
    this.#options = options
    this.#plot = new uPlot(this.#describe(), [[]], place)
    const { signal } = this.#ended
    const dark = matchMedia('(prefers-color-scheme: dark)')
    dark.addEventListener('change', () => this.#plot.redraw(false), { signal })
    this.#listen(signal)
    this.#resized = new ResizeObserver(() => this.#resize())
    this.#resized.observe(place)
  }

  /** Width of the area of the lines, px. */
  get pixels(): number {
    return this.#plot.over.clientWidth
  }

  draw(columns: Columns, span: Span): void {
    this.#plot.batch(() => {
      this.#plot.setData(columns as uPlot.AlignedData, false)
      this.show(span)
    })
  }

  /** Shows another span of the same points. */
  show(span: Span): void {
    this.#span = span
    this.#plot.setScale('x', { min: span.from / 1000, max: span.to / 1000 })
  }

  /** Shows another span unless a finger holds the chart. */
  follow(span: Span): void {
    if (this.#drag === undefined) this.show(span)
  }

  close(): void {
    this.#ended.abort()
    this.#resized.disconnect()
    this.#plot.destroy()
  }

  #describe(): uPlot.Options {
    const { lines, axes, height } = this.#options
    const hasRight = lines.some(({ field }) => axes.right.includes(field))
    return {
      width: Math.max(200, this.#place.clientWidth),
      height: Math.max(minHeightPx, height),
      // Half of a time has to fit beyond the end of its axis.
      padding: [10, hasRight ? 0 : 30, 0, 0],
      legend: { show: false },
      cursor: {
        drag: { x: true, y: false, setScale: false },
        y: false,
        points: { size: 7 },
        // The charts of a page point at the same time; a drag stays with its own.
        sync: { key: 'device', filters: { pub: (type) => type === 'mousemove' || type === 'mouseleave' } },
        // The handlers of this class take a press with a finger, or with Shift.
        bind: {
          mousedown: (_, __, handler) => (event) => (event.shiftKey ? null : handler(event)),
          dblclick: () => () => null,
        },
      },
      scales: {
        x: { time: true, auto: false },
        left: { range: fitted(0.6) },
        right: { range: fitted(0.4) },
      },
      axes: [
        {
          stroke: byTheme('--muted'),
          font: `12px ${styleOf('--sans')}`,
          size: timeAxisPx,
          grid: { stroke: byTheme('--line'), width: 1 },
          ticks: { show: false },
          space: 72,
          values: (_, values, __, ___, increment) => timeTexts(values, increment),
        },
        axis('left', true),
        ...(hasRight ? [axis('right', false)] : []),
      ],
      series: [
        {},
        ...lines.map(
          ({ field, color, stepped: jumps }): uPlot.Series => ({
            label: field,
            scale: scaleOf(axes, field),
            stroke: byTheme(`--chart-${(color % colorCount) + 1}`),
            width: 1.75,
            dash: color < colorCount ? [] : [6, 4],
            ...(jumps && stepped !== undefined ? { paths: stepped } : {}),
            points: {
              size: dotPx,
              width: 0,
              space: dotsApartPx,
              fill: byTheme(`--chart-${(color % colorCount) + 1}`),
              filter: dotsOf,
            },
          }),
        ),
      ],
      hooks: {
        setSelect: [(plot) => this.#select(plot)],
        setCursor: [({ cursor }) => this.#options.onCursor(cursor.idx ?? undefined)],
      },
    }
  }

  #select(plot: uPlot): void {
    const { left, width } = plot.select
    if (width < 4) return
    const from = plot.posToVal(left, 'x') * 1000
    const to = plot.posToVal(left + width, 'x') * 1000
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
    if (to - from >= 1000) this.#options.onSpan({ from, to })
  }

  #listen(signal: AbortSignal): void {
    const { over } = this.#plot
    over.addEventListener('pointerdown', (event) => this.#beginPan(event), { signal })
    over.addEventListener('pointermove', (event) => this.#pan(event), { signal })
    for (const end of ['pointerup', 'pointercancel'] as const)
      over.addEventListener(end, () => this.#endPan(), { signal })
    over.addEventListener('wheel', (event) => this.#wheel(event), { signal, passive: false })
  }

  #beginPan(event: PointerEvent): void {
    if (event.pointerType !== 'touch' && !event.shiftKey) return
    this.#drag = { x: event.clientX, span: this.#span }
    if (event.pointerType !== 'touch') this.#plot.over.setPointerCapture(event.pointerId)
  }

  #pan(event: PointerEvent): void {
    if (this.#drag === undefined) return
    const part = (this.#drag.x - event.clientX) / Math.max(1, this.pixels)
    this.show(panned(this.#drag.span, part, this.#options.now()))
  }

  #endPan(): void {
    const before = this.#drag
    this.#drag = undefined
    if (before !== undefined && before.span.from !== this.#span.from) this.#options.onSpan(this.#span)
  }

  /** With Ctrl, as a pinch on a touch pad comes: zooms at the pointer. A wheel without it scrolls the page. */
  #wheel(event: WheelEvent): void {
    if (!event.ctrlKey) return
    event.preventDefault()
    const at = event.offsetX / Math.max(1, this.pixels)
    this.#options.onSpan(zoomed(this.#span, event.deltaY > 0 ? 1.25 : 0.8, at, this.#options.now()))
  }

  #resize(): void {
    const width = this.#place.clientWidth
    if (width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height: this.#plot.height })
  }
}
