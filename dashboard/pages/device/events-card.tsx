/** What happened to the device, newest first, and the warnings about its readings. */
import { useState } from 'preact/hooks'
import { eventSentence, eventTone } from '../../events.ts'
import { Button } from '../../ui/button.tsx'
import { Card } from '../../ui/layout.tsx'
import { Badge } from '../../ui/status.tsx'
import { Time } from '../../ui/time.tsx'
import type { DeviceEvent } from './answers.ts'

const step = 12

const keyOf = ({ event, timestamp, detail }: DeviceEvent) => `${event} ${timestamp} ${JSON.stringify(detail)}`

const Line = ({
  event: { event: kind, detail, count, timestamp, last_timestamp: last },
}: {
  event: DeviceEvent
}) => (
  <li>
    <span class={`dot ${eventTone(kind)}`} aria-hidden="true" />
    <span class="event-text">{eventSentence(kind, detail, count)}</span>
    <span class="muted nowrap">
      <Time time={last ?? timestamp} />
    </span>
  </li>
)

export const EventsCard = ({ events }: { events: readonly DeviceEvent[] }) => {
  const [shown, setShown] = useState(step)
  return (
    <Card title="Events">
      {events.length === 0 && <p class="muted">Nothing has happened yet.</p>}
      <ol class="event-list">
        {events.slice(0, shown).map((event) => (
          <Line key={keyOf(event)} event={event} />
        ))}
      </ol>
      {events.length > shown && (
        <Button small kind="quiet" onClick={() => setShown(shown + 4 * step)}>
          Show more
        </Button>
      )}
    </Card>
  )
}

/** Warnings and refused logins: what a device does wrong. Left out when there are none. */
export const WarningsCard = ({ events }: { events: readonly DeviceEvent[] }) => {
  const warnings = events.filter(({ event }) => event === 'warning' || event === 'login_failed')
  if (warnings.length === 0) return null
  return (
    <Card title="Warnings" aside={<Badge tone="warn">{warnings.length.toLocaleString()}</Badge>}>
      <p class="muted small">What the server left out or changed in readings, and logins that it refused.</p>
      <ol class="event-list">
        {warnings.slice(0, step).map((event) => (
          <Line key={keyOf(event)} event={event} />
        ))}
      </ol>
    </Card>
  )
}
