/** The points of the charts as a table, for those who cannot see them and those who want the numbers. */
import { useState } from 'preact/hooks'
import type { ChartModel } from '../../charts/model.ts'
import type { Line } from '../../charts/plot.ts'
import { numberText } from '../../charts/value-text.ts'
import { localTime } from '../../format.ts'

const mostRows = 200

interface Row {
  readonly time: number
  readonly values: readonly (number | null | undefined)[]
}

/** Newest first. */
const rowsOf = (model: ChartModel, lines: readonly Line[]): Row[] => {
  const [times, ...columns] = model.table.columns(
    lines.map(({ field }) => field),
    model.window.peek()?.ms ?? 0,
  )
  return times
    .map((time, at) => ({ time, values: columns.map((column) => column[at]) }))
    .filter(({ values }) => values.some((value) => typeof value === 'number'))
    .reverse()
    .slice(0, mostRows)
}

const Rows = ({ model, lines }: { model: ChartModel; lines: readonly Line[] }) => {
  // Points that come while the table is open shall be in it.
  model.version.value
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: keys scroll it.
    <section class="scroll-box" aria-label="Values of the charts" tabIndex={0}>
      <table class="plain-table">
        <caption class="for-readers">Values of the charts, newest first</caption>
        <thead>
          <tr>
            <th scope="col">Time</th>
            {lines.map(({ field }) => (
              <th key={field} scope="col" class="number">
                {field}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rowsOf(model, lines).map(({ time, values }) => (
            <tr key={time}>
              <th scope="row" class="nowrap">
                {localTime(new Date(time * 1000).toISOString())}
              </th>
              {values.map((value, at) => (
                <td key={lines[at]?.field} class="number">
                  {typeof value === 'number' ? numberText(value) : '–'}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

export const ValuesTable = ({ model, lines }: { model: ChartModel; lines: readonly Line[] }) => {
  const [isOpen, setOpen] = useState(false)
  return (
    <details class="values" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Values as a table</summary>
      {isOpen && <Rows model={model} lines={lines} />}
    </details>
  )
}
