/** The charts of a device: the range, the fields, and the values as a table. */
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import { assignAxes } from '../../charts/axes.ts'
import { Chart, extentsOf } from '../../charts/chart.tsx'
import { type Aggregation, aggregations, type ChartModel } from '../../charts/model.ts'
import type { Line } from '../../charts/plot.ts'
import { isMoving, panned, presets, type Range, type Span, writeRange, zoomed } from '../../charts/range.ts'
import { replaceQuery } from '../../router.ts'
import { Button } from '../../ui/button.tsx'
import { Select } from '../../ui/field.tsx'
import { Card } from '../../ui/layout.tsx'
import { ErrorNotice } from '../../ui/states.tsx'
import type { FieldInfo } from './answers.ts'
import { RangePicker } from './range-picker.tsx'
import { useUsualRange } from './usual-range.ts'
import { ValuesTable } from './values-table.tsx'
import { readView, type View, writeView } from './view.ts'

/** One request reads all fields of a device that has no more; of others, only those that are shown are read. */
const mostAtOnce = 16
/** Fields that are shown when nobody has chosen. */
const mostChosen = 6
const heights = { together: 320, apart: 180, phone: 240 } as const

export const linesOf = (fields: readonly FieldInfo[]): Line[] => {
  const numbers = new Map<string, boolean>()
  for (const { name, type } of fields)
    if (type !== 'text') numbers.set(name, (numbers.get(name) ?? true) && type === 'boolean')
  return [...numbers].map(([field, stepped], color) => ({ field, color, stepped }))
}

const aggregationNames: Readonly<Record<Aggregation, string>> = {
  mean: 'Mean',
  min: 'Lowest',
  max: 'Highest',
  last: 'Last',
}

interface Choice {
  readonly fields: readonly string[]
  readonly isApart: boolean
}

/**
 * What is shown when nobody has chosen: all fields in one chart where that goes well, judged once there are values, and again when
 * the device has sent another field.
 */
function useUsual(model: ChartModel, lines: readonly Line[], units: ReadonlyMap<string, string>): Choice {
  const choice = useRef<Choice | undefined>(undefined)
  const isAny = model.version.value > 0 && model.table.size > 0
  const fields = lines.slice(0, mostChosen).map(({ field }) => field)
  if (isAny && fields.join() !== choice.current?.fields.join()) {
    const extents = extentsOf(model, lines.slice(0, mostChosen), units)
    choice.current = { fields, isApart: assignAxes(extents).squeezed.length > 0 }
  }
  return choice.current ?? { fields, isApart: false }
}

/** Loads the model anew when what it shows has changed. @returns the place whose width counts. */
function useLoading(
  model: ChartModel,
  deviceId: number,
  { range, aggregation }: { readonly range: Range; readonly aggregation: Aggregation },
  fields: readonly string[] | undefined,
) {
  const place = useRef<HTMLDivElement>(null)
  const [pixels, setPixels] = useState(0)
  useLayoutEffect(() => setPixels(Math.max(200, (place.current?.clientWidth ?? 800) - 60)), [])
  const key = JSON.stringify([writeRange(range), aggregation, fields])
  // `key` stands for the range, the aggregation and the fields.
  useLayoutEffect(() => {
    if (pixels === 0) return
    void model.load({ deviceId, range, pixels, aggregation, fields })
  }, [model, deviceId, pixels, key])
  useEffect(() => () => model.close(), [model])
  return place
}

const pointText = (model: ChartModel, aggregation: Aggregation) => {
  const window = model.window.value
  if (window === undefined) return 'Every reading'
  const words: Readonly<Record<Aggregation, string>> = {
    mean: 'the mean',
    min: 'the smallest value',
    max: 'the largest value',
    last: 'the last value',
  }
  return `Each point is ${words[aggregation]} of ${window.name}`
}

interface ToolsProps {
  model: ChartModel
  range: Range
  onRange: (range: Range) => void
}

const ZoomButtons = ({ model, range, onRange }: ToolsProps) => {
  const move = (change: (span: Span, now: number) => Span) => () => onRange(change(model.span(), model.now()))
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset would stand on a line of its own.
    <div class="actions zoom" role="group" aria-label="Zoom and pan">
      <Button small label="Back in time" onClick={move((span, now) => panned(span, -0.5, now))}>
        ←
      </Button>
      <Button small label="Zoom in" onClick={move((span, now) => zoomed(span, 0.5, 0.5, now))}>
        +
      </Button>
      <Button small label="Zoom out" onClick={move((span, now) => zoomed(span, 2, 0.5, now))}>
        −
      </Button>
      <Button
        small
        label="Forward in time"
        disabled={isMoving(range)}
        onClick={move((span, now) => panned(span, 0.5, now))}
      >
        →
      </Button>
      {!isMoving(range) && (
        <Button small onClick={() => onRange({ lastMs: nearestPreset(range) })}>
          Live
        </Button>
      )}
    </div>
  )
}

/** The shortest preset that shows all of the span, but for a hundredth that rounding may have added, ms. */
const nearestPreset = ({ from, to }: Span): number =>
  presets.find(({ ms }) => ms >= (to - from) * 0.99)?.ms ?? presets.at(-1)?.ms ?? 0

const NoPoints = ({
  newestAt,
  onRange,
}: {
  newestAt: number | undefined
  onRange: (range: Range) => void
}) => (
  <div class="chart-empty">
    <p>No values in this range.</p>
    {newestAt !== undefined && (
      <Button small onClick={() => onRange({ from: newestAt - 3_000_000, to: newestAt + 600_000 })}>
        Go to the newest reading
      </Button>
    )}
  </div>
)

interface ChartsCardProps {
  deviceId: number
  model: ChartModel
  fields: readonly FieldInfo[]
  units: ReadonlyMap<string, string>
  query: URLSearchParams
  /** Of the newest reading, ms since the epoch. */
  newestAt: number | undefined
  aside: preact.ComponentChildren
}

export const ChartsCard = ({ deviceId, model, fields, units, query, newestAt, aside }: ChartsCardProps) => {
  const view = readView(query)
  const usualRange = useUsualRange(deviceId, fields, () => model.now())
  const range = view.range ?? usualRange
  const lines = useMemo(() => linesOf(fields), [fields])
  const usual = useUsual(model, lines, units)
  const chosen = view.fields ?? usual.fields
  const isApart = view.isApart ?? usual.isApart
  const chosenKey = chosen.join(',')
  // `chosenKey` stands for the names.
  const shown = useMemo(() => lines.filter(({ field }) => chosen.includes(field)), [lines, chosenKey])
  const place = useLoading(
    model,
    deviceId,
    { range, aggregation: view.aggregation },
    lines.length <= mostAtOnce ? undefined : shown.map(({ field }) => field),
  )
  const isPhone = matchMedia('(max-width: 640px)').matches

  const change = (changes: Partial<View>) => replaceQuery(writeView({ ...view, ...changes }))
  const onRange = (chosenRange: Range) => change({ range: chosenRange })
  const onSpan = (span: Span | undefined) =>
    onRange(span ?? { lastMs: isMoving(range) ? range.lastMs : nearestPreset(range) })
  const onToggle = (field: string) =>
    change({ fields: chosen.includes(field) ? chosen.filter((name) => name !== field) : [...chosen, field] })

  const isEmpty = model.version.value > 0 && model.table.size === 0 && !model.loading.value
  const chart = { model, units, onSpan }
  return (
    <Card title="Readings over time" class="wide" aside={aside}>
      <div class="chart-tools">
        <RangePicker model={model} range={range} onRange={onRange} />
        <ZoomButtons model={model} range={range} onRange={onRange} />
        {/* biome-ignore lint/a11y/useSemanticElements: a fieldset would stand on a line of its own. */}
        <div class="choices" role="group" aria-label="Charts">
          <button type="button" aria-pressed={!isApart} onClick={() => change({ isApart: false })}>
            Together
          </button>
          <button type="button" aria-pressed={isApart} onClick={() => change({ isApart: true })}>
            Apart
          </button>
        </div>
        <Select
          label="Value of a point"
          hideLabel
          value={view.aggregation}
          onInput={(aggregation) => change({ aggregation: aggregation as Aggregation })}
          disabled={model.window.value === undefined}
          options={aggregations.map((name) => [name, aggregationNames[name]])}
        />
      </div>
      {model.error.value && <ErrorNotice error={model.error.value} onRetry={() => onRange({ ...range })} />}
      <div
        class={`charts${isApart ? ' apart' : ''}${model.loading.value ? ' loading-more' : ''}`}
        ref={place}
        data-points={model.table.size}
      >
        {(!isApart || shown.length === 0) && (
          <Chart
            {...chart}
            lines={shown}
            height={isPhone ? heights.phone : heights.together}
            label="All chosen fields"
            choices={{ lines, onToggle }}
          />
        )}
        {isApart && shown.length > 0 && (
          <>
            <FieldChoices lines={lines} shown={shown} onToggle={onToggle} />
            {shown.map((line) => (
              <Chart key={line.field} {...chart} lines={[line]} height={heights.apart} label={line.field} />
            ))}
          </>
        )}
        {isEmpty && <NoPoints newestAt={newestAt} onRange={onRange} />}
      </div>
      <p class="muted small chart-note">
        {pointText(model, view.aggregation)}
        {model.loading.value ? ' · reading older ones' : ''}. Drag to zoom, Shift and drag to pan, or use the
        keys: arrows, + and −.
      </p>
      <ValuesTable model={model} lines={shown} />
    </Card>
  )
}

interface FieldChoicesProps {
  lines: readonly Line[]
  shown: readonly Line[]
  onToggle: (field: string) => void
}

const FieldChoices = ({ lines, shown, onToggle }: FieldChoicesProps) => (
  <ul class="field-choices">
    {lines.map((line) => (
      <li key={line.field}>
        <button
          type="button"
          class="chart-choice"
          aria-pressed={shown.includes(line)}
          onClick={() => onToggle(line.field)}
        >
          {line.field}
        </button>
      </li>
    ))}
  </ul>
)
