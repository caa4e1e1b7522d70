/** A band of the time in which the device was online. */
import { useState } from 'preact/hooks'
import { localTime, measure, span } from '../../format.ts'
import { Card } from '../../ui/layout.tsx'
import { useNow } from '../../ui/time.tsx'
import type { DeviceEvent } from './answers.ts'
import { type Presence, presenceOf, type Stretch } from './presence.ts'

const day = 86_400_000
const ranges = [
  ['24 h', day],
  ['7 days', 7 * day],
  ['30 days', 30 * day],
] as const

/** Width of the drawing, in units of its own. */
const width = 1000

const stateOf = ({ online }: Stretch) => (online === undefined ? 'unknown' : online ? 'online' : 'offline')

const titleOf = (stretch: Stretch) => {
  const [from, to] = [stretch.from, stretch.to].map((at) => localTime(new Date(at).toISOString()))
  return `${stateOf(stretch)} for ${span((stretch.to - stretch.from) / 1000)}: ${from} – ${to}${stretch.reason ? `, ${stretch.reason}` : ''}`
}

/** @param isYoung whether the device was registered within the time that is shown. */
export const sentenceOf = (
  { onlinePart, outages, longestMs, stretches }: Presence,
  isYoung: boolean,
): string => {
  if (onlinePart === undefined)
    return isYoung ? 'It has not been online yet.' : 'Nothing is known of this time.'
  const isAllKnown = stretches.every(({ online }) => online !== undefined)
  const time = isAllKnown
    ? 'of this time'
    : isYoung
      ? 'of the time since it first came online'
      : 'of the time that is known'
  const part = `Online ${measure(Math.floor(onlinePart * 10_000) / 100)} % ${time}`
  if (outages === 0) return `${part}, never offline.`
  const times = outages === 1 ? 'once' : `${outages.toLocaleString()} times`
  return `${part}; offline ${times}, ${outages === 1 ? '' : 'at the longest '}for ${span(longestMs / 1000)}.`
}

interface PresenceCardProps {
  events: readonly DeviceEvent[]
  /** ISO 8601. */
  registeredAt: string
}

export const PresenceCard = ({ events, registeredAt }: PresenceCardProps) => {
  const [length, setLength] = useState<number>(day)
  // A minute is less than a pixel of the band.
  const to = Math.ceil(useNow() / 60_000) * 60_000
  const from = to - length
  const presence = presenceOf(events, { from, to })
  const sentence = sentenceOf(presence, Date.parse(registeredAt) > from)
  return (
    <Card
      title="Presence"
      class="wide"
      aside={
        // biome-ignore lint/a11y/useSemanticElements: a fieldset cannot be part of a line of text in every browser.
        <div class="choices" role="group" aria-label="Time that is shown">
          {ranges.map(([name, ms]) => (
            <button key={name} type="button" aria-pressed={ms === length} onClick={() => setLength(ms)}>
              {name}
            </button>
          ))}
        </div>
      }
    >
      <svg
        class="presence"
        viewBox={`0 0 ${width} 28`}
        preserveAspectRatio="none"
        role="img"
        aria-label={sentence}
      >
        {presence.stretches.map((stretch) => (
          <rect
            key={stretch.from}
            class={stateOf(stretch)}
            x={((stretch.from - from) / length) * width}
            width={Math.max(1, ((stretch.to - stretch.from) / length) * width)}
            y="0"
            height="28"
          >
            <title>{titleOf(stretch)}</title>
          </rect>
        ))}
      </svg>
      <div class="presence-ends muted small">
        <span>{localTime(new Date(from).toISOString())}</span>
        <span>now</span>
      </div>
      <p>{sentence}</p>
    </Card>
  )
}
