/** Readings per second of the last hour: a bar for each minute. */
import { useState } from 'preact/hooks'
import type { Overview } from '../answers.ts'
import { clockTime, count, measure } from '../format.ts'

type Minute = NonNullable<Overview['messages_per_minute']>[number]

/** Units of the drawing; CSS stretches it to the width of the card. */
const [width, height] = [600, 100]
const secondsPerMinute = 60

/** The next number that reads well and is not below. */
export const roundUp = (value: number): number => {
  if (value <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  const step = [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((factor) => factor * power >= value) ?? 10
  return step * power
}

const totalOf = ({ stored, rejected }: Minute) => stored + rejected
const perSecond = (readings: number) => readings / secondsPerMinute

const Bar = ({
  minute,
  at,
  count: bars,
  top,
  chosen,
}: {
  minute: Minute
  at: number
  count: number
  top: number
  chosen: boolean
}) => {
  const slot = width / bars
  const heightOf = (readings: number) => (perSecond(readings) / top) * height
  const [stored, rejected] = [heightOf(minute.stored), heightOf(minute.rejected)]
  const place = { x: at * slot + slot * 0.12, width: slot * 0.76 }
  return (
    <g class={chosen ? 'chosen' : undefined}>
      <rect class="stored" {...place} y={height - stored} height={stored} />
      {rejected > 0 && <rect class="rejected" {...place} y={height - stored - rejected} height={rejected} />}
    </g>
  )
}

const describe = (minute: Minute) =>
  `${clockTime(minute.time)}: ${measure(perSecond(totalOf(minute)))} per second, ${count(minute.stored)} stored${
    minute.rejected > 0 ? `, ${count(minute.rejected)} rejected` : ''
  }`

export const RateChart = ({ minutes }: { minutes: readonly Minute[] }) => {
  const [chosen, setChosen] = useState<number>()
  const highest = Math.max(0, ...minutes.map(totalOf))
  const top = roundUp(perSecond(highest))
  const shown = chosen === undefined ? undefined : minutes[chosen]
  const choose = (event: PointerEvent & { currentTarget: Element }) => {
    const box = event.currentTarget.getBoundingClientRect()
    const at = Math.floor(((event.clientX - box.left) / box.width) * minutes.length)
    setChosen(Math.min(Math.max(at, 0), minutes.length - 1))
  }
  const peak = minutes.find((minute) => totalOf(minute) === highest)
  const summary =
    highest === 0 || peak === undefined
      ? 'Readings per second over the last hour: none arrived.'
      : `Readings per second over the last hour. The highest was at ${describe(peak)}.`
  return (
    <figure class="rate-chart">
      <div class="rate-plot">
        <span class="rate-top" aria-hidden="true">
          {measure(top)}/s
        </span>
        <svg
          viewBox={`0 0 ${width} ${height}`}
          preserveAspectRatio="none"
          role="img"
          aria-label={summary}
          onPointerMove={choose}
          onPointerLeave={() => setChosen(undefined)}
        >
          <path class="lines" d={`M0 .5H${width}M0 ${height / 2}H${width}M0 ${height - 0.5}H${width}`} />
          {minutes.map((minute, at) => (
            <Bar key={minute.time} {...{ minute, at, count: minutes.length, top, chosen: at === chosen }} />
          ))}
        </svg>
      </div>
      <div class="rate-times" aria-hidden="true">
        {shown === undefined ? (
          <>
            <span>{minutes[0] && clockTime(minutes[0].time)}</span>
            <span>now</span>
          </>
        ) : (
          <span class="rate-shown">{describe(shown)}</span>
        )}
      </div>
    </figure>
  )
}
