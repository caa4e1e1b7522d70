/** A chart with its legend, its values in words, and its keys. */
import { type Signal, useSignal } from '@preact/signals'
import { useEffect, useId, useMemo, useRef } from 'preact/hooks'
import { localTime } from '../format.ts'
import { type Axes, assignAxes, type Extent } from './axes.ts'
import type { ChartModel } from './model.ts'
import { colorCount, type Line, Plot } from './plot.ts'
import { panned, type Span, zoomed } from './range.ts'
import type { Columns } from './table.ts'
import { numberText } from './value-text.ts'

interface ChartProps {
  model: ChartModel
  lines: readonly Line[]
  /** From metadata, by field. */
  units: ReadonlyMap<string, string>
  height: number
  /** Goes to another span; undefined goes back to the newest readings. */
  onSpan: (span: Span | undefined) => void
  label: string
  /** All lines that may be shown, and the way to show and hide them. */
  choices?: { readonly lines: readonly Line[]; readonly onToggle: (field: string) => void }
}

/** The smallest and the largest value of each field that has one. */
export function extentsOf(
  model: ChartModel,
  lines: readonly Line[],
  units: ReadonlyMap<string, string>,
): Extent[] {
  const extents: Extent[] = []
  for (const { field } of lines) {
    let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
    for (const [, value] of model.table.values(field)) {
      if (value < min) min = value
      if (value > max) max = value
    }
    if (min <= max) extents.push({ field, min, max, unit: units.get(field) })
  }
  return extents
}

/** Which fields are on which axis. Those that are squeezed everywhere are drawn on the right one, and the page says so. */
const axesFor = (extents: readonly Extent[]): Axes => {
  const axes = assignAxes(extents)
  return { ...axes, right: [...axes.right, ...axes.squeezed] }
}

/** How far a key moves the chart, as a part of its width. */
const keyStep = 0.2

const spanAfterKey = (key: string, span: Span, now: number): Span | undefined => {
  switch (key) {
    case 'ArrowLeft':
      return panned(span, -keyStep, now)
    case 'ArrowRight':
      return panned(span, keyStep, now)
    case '+':
    case '=':
      return zoomed(span, 0.5, 0.5, now)
    case '-':
      return zoomed(span, 2, 0.5, now)
    default:
      return undefined
  }
}

const swatch = (color: number) =>
  `swatch color-${(color % colorCount) + 1}${color < colorCount ? '' : ' dashed'}`

interface LegendProps extends Pick<ChartProps, 'lines' | 'choices'> {
  axes: Axes
  units: ReadonlyMap<string, string>
  columns: Signal<Columns>
  cursor: Signal<number | undefined>
}

const lastValue = (values: readonly unknown[] | undefined) =>
  values?.findLast((value): value is number => typeof value === 'number')

/** The lines with their value under the pointer, or with their newest one. */
const Legend = ({ lines, choices, axes, units, columns, cursor }: LegendProps) => {
  const [times, ...values] = columns.value
  const at = cursor.value
  const time = at === undefined ? undefined : times[at]
  const item = ({ field, color }: Line) => {
    const line = lines.findIndex((one) => one.field === field)
    const value = at === undefined ? lastValue(values[line]) : values[line]?.[at]
    return (
      <>
        <span class={swatch(color)} aria-hidden="true" />
        <span class="chart-field">{field}</span>
        {line >= 0 && <strong>{typeof value === 'number' ? numberText(value) : '–'}</strong>}
        {line >= 0 && units.has(field) && <span class="muted">{units.get(field)}</span>}
        {axes.right.includes(field) && <span class="muted small">right axis</span>}
      </>
    )
  }
  return (
    <div class="chart-legend">
      <ul>
        {(choices?.lines ?? lines).map((line) => (
          <li key={line.field}>
            {choices === undefined ? (
              item(line)
            ) : (
              <button
                type="button"
                class="chart-choice"
                aria-pressed={lines.some(({ field }) => field === line.field)}
                onClick={() => choices.onToggle(line.field)}
              >
                {item(line)}
              </button>
            )}
          </li>
        ))}
      </ul>
      {time !== undefined && (
        <span class="muted small nowrap">{localTime(new Date(time * 1000).toISOString())}</span>
      )}
    </div>
  )
}

/** What the lines show, for those who do not see them. */
const summaryOf = (extents: readonly Extent[], span: Span): string => {
  const from = localTime(new Date(span.from).toISOString())
  const to = localTime(new Date(span.to).toISOString())
  if (extents.length === 0) return `No values from ${from} to ${to}.`
  const lines = extents.map(({ field, min, max, unit = '' }) =>
    `${field} between ${numberText(min)} and ${numberText(max)} ${unit}`.trim(),
  )
  return `From ${from} to ${to}: ${lines.join('; ')}.`
}

export const Chart = ({ model, lines, units, height, onSpan, label, choices }: ChartProps) => {
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<Plot | undefined>(undefined)
  const cursor = useSignal<number | undefined>(undefined)
  const columns = useSignal<Columns>([[]])
  const hint = useId()
  const newest = useRef(onSpan)
  newest.current = onSpan
  const version = model.version.value
  // The version stands for the points of the model.
  const extents = useMemo(() => extentsOf(model, lines, units), [model, lines, units, version])
  const axes = axesFor(extents)
  const shape = JSON.stringify([lines, axes.right, height])

  // `shape` stands for the lines, the axes and the height.
  useEffect(() => {
    if (place.current === null) return
    const made = new Plot(place.current, {
      lines,
      axes,
      height,
      now: () => model.now(),
      onSpan: (span) => newest.current(span),
      onCursor: (index) => {
        cursor.value = index
      },
    })
    plot.current = made
    made.draw(columns.peek(), model.span())
    return () => {
      made.close()
      plot.current = undefined
      cursor.value = undefined
    }
  }, [shape, model])

  // The version stands for the points of the model.
  useEffect(() => {
    columns.value = model.table.columns(
      lines.map(({ field }) => field),
      model.window.peek()?.ms ?? 0,
    )
    plot.current?.draw(columns.peek(), model.span())
  }, [version, shape, model])

  // A range that ends now moves on without new points.
  useEffect(() => {
    const { from, to } = model.span()
    const step = Math.max(1000, (to - from) / 500)
    const timer = setInterval(() => document.hidden || plot.current?.follow(model.span()), step)
    return () => clearInterval(timer)
  }, [version, model])

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return
    if (event.key === 'Home') onSpan(undefined)
    const span = spanAfterKey(event.key, model.span(), model.now())
    if (span !== undefined) onSpan(span)
    if (span !== undefined || event.key === 'Home') event.preventDefault()
  }

  return (
    <div class="chart">
      <Legend {...{ lines, axes, units, columns, cursor, ...(choices && { choices }) }} />
      {/* biome-ignore lint/a11y/useSemanticElements: a group of lines has no element of its own. */}
      <div
        class="chart-plot"
        role="group"
        aria-roledescription="chart"
        aria-label={label}
        aria-describedby={hint}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: keys zoom and pan.
        tabIndex={0}
        onKeyDown={onKeyDown}
        ref={place}
      />
      <p class="for-readers" id={hint}>
        {summaryOf(extents, model.span())} Arrow keys pan, plus and minus zoom, Home goes back to the newest
        readings.
      </p>
    </div>
  )
}
