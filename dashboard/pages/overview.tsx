/** The overview: what the fleet does now, and whether every reading is accounted for. */
import type { ComponentChildren } from 'preact'
import type { FleetEvent, Overview } from '../answers.ts'
import { eventSentence, eventTone } from '../events.ts'
import { compactCount, count, measure, span } from '../format.ts'
import { live } from '../live.ts'
import { href } from '../router.ts'
import { ButtonLink } from '../ui/button.tsx'
import { Icon } from '../ui/icon.tsx'
import { Card, Figure, PageHead } from '../ui/layout.tsx'
import { Loading } from '../ui/states.tsx'
import { Badge, StatusBadge } from '../ui/status.tsx'
import { Time } from '../ui/time.tsx'
import { AlertLine } from './alerts/alert-line.tsx'
import { openCount } from './alerts/words.ts'
import { ConnectDevice } from './connect.tsx'
import { RateChart } from './rate-chart.tsx'

const Term = ({ name, value, sign }: { name: string; value: number; sign: string }) => (
  <div class="term" data-sign={sign}>
    <dt>{name}</dt>
    <dd>{count(value)}</dd>
  </div>
)

/** Every reading that came in is in exactly one place: the difference is what nobody can explain. */
const Accounting = ({ accounting }: { accounting: NonNullable<Overview['accounting']> }) => {
  const { received, stored, spooled, rejected, duplicates, difference, exact } = accounting
  const isComplete = difference === 0
  return (
    <Card
      title="Every reading is accounted for"
      class="wide accounting"
      aside={
        <span class={`difference ${isComplete ? 'good' : 'bad'}`}>
          <Icon name={isComplete ? 'check' : 'alert'} />
          Difference {count(difference)}
        </span>
      }
    >
      <dl class="equation">
        <Term name="received" value={received} sign="" />
        <Term name="stored" value={stored} sign="=" />
        <Term name="spooled" value={spooled} sign="+" />
        <Term name="rejected" value={rejected} sign="+" />
        <Term name="duplicates" value={duplicates} sign="+" />
      </dl>
      {!exact && (
        <p class="small muted">
          Without the readings that wait in a queue of the cloud, which counts only roughly.
        </p>
      )}
    </Card>
  )
}

const Messages = ({ overview }: { overview: Overview }) => {
  const { messages, messages_per_minute: minutes } = overview
  return (
    <Card title="Readings per second" class="messages" aside={<span class="small muted">the last hour</span>}>
      {messages === null ? (
        <p class="muted">
          {overview.storage.status === 'healthy'
            ? 'The readings are being counted.'
            : 'The store cannot be asked now. What arrives is kept.'}
        </p>
      ) : (
        <dl class="figures">
          <Figure name="now">{`${measure(messages.last_minute / 60)}/s`}</Figure>
          <Figure name="last hour">{compactCount(messages.last_hour)}</Figure>
          <Figure name="last day">{compactCount(messages.last_day)}</Figure>
        </dl>
      )}
      {minutes && <RateChart minutes={minutes} />}
    </Card>
  )
}

const Part = ({
  name,
  children,
  note,
}: {
  name: string
  children: ComponentChildren
  note?: ComponentChildren
}) => (
  <div class="part">
    <dt>{name}</dt>
    <dd>
      {children}
      {note && <span class="small muted">{note}</span>}
    </dd>
  </div>
)

const nameOfBackend: Readonly<Record<string, string>> = {
  embedded: 'embedded',
  influxdb: 'InfluxDB',
  mosquitto: 'Mosquitto',
  'aws-iot': 'AWS IoT Core',
}

const connections = (open: number | null) =>
  open === null ? 'connected' : `${count(open)} ${open === 1 ? 'connection' : 'connections'}`

const Parts = ({ overview }: { overview: Overview }) => {
  const { storage, broker, spool, dead_letters: letters } = overview
  return (
    <Card title="Parts">
      <dl class="parts">
        <Part name="Store" note={nameOfBackend[storage.backend] ?? storage.backend}>
          <StatusBadge status={storage.status} />
        </Part>
        {broker && (
          <Part
            name="Broker"
            note={broker.kind === 'none' ? 'HTTP only' : (nameOfBackend[broker.kind] ?? broker.kind)}
          >
            {broker.kind === 'none' ? (
              <Badge>none</Badge>
            ) : (
              <Badge tone={broker.connected ? 'good' : 'bad'}>
                {broker.connected ? connections(broker.connections) : 'not connected'}
              </Badge>
            )}
          </Part>
        )}
        {spool && (
          <Part
            name="Spool"
            note={spool.oldest_age_s === null ? undefined : `the oldest waits ${span(spool.oldest_age_s)}`}
          >
            <Badge tone={spool.depth > 0 ? 'warn' : 'good'}>
              {spool.depth > 0 ? `${count(spool.depth)} waiting` : 'empty'}
            </Badge>
          </Part>
        )}
        {letters && (
          <Part name="Dead letters">
            {letters.count > 0 ? (
              <a href={href('/dead-letters')}>
                <Badge tone="bad">{`${count(letters.count)} to look at`}</Badge>
              </a>
            ) : (
              <Badge tone="good">none</Badge>
            )}
          </Part>
        )}
      </dl>
    </Card>
  )
}

const statuses = [
  ['active', 'good'],
  ['maintenance', 'warn'],
  ['inactive', 'neutral'],
] as const
const shownTypes = 6

const Devices = ({ devices }: { devices: Overview['devices'] }) => {
  const types = Object.entries(devices.by_type).sort(([, a], [, b]) => b - a)
  const others = types.slice(shownTypes).reduce((sum, [, number]) => sum + number, 0)
  return (
    <Card title="Devices" aside={<a href={href('/devices')}>All devices</a>}>
      <dl class="figures">
        <Figure name="online" note={`of ${count(devices.total)}`}>
          {count(devices.online)}
        </Figure>
        <Figure name="offline">{count(devices.offline)}</Figure>
      </dl>
      {/* The numbers above and below say the same. */}
      <meter class="share" min={0} max={devices.total} value={devices.online} aria-label="Devices online" />
      <ul class="chips">
        {statuses.map(([status, tone]) => (
          <li key={status}>
            <a href={href('/devices', { status })}>
              <Badge tone={tone}>{`${status} ${count(devices.by_status[status])}`}</Badge>
            </a>
          </li>
        ))}
      </ul>
      <ul class="types">
        {types.slice(0, shownTypes).map(([type, number]) => (
          <li key={type}>
            <a href={href('/devices', { device_type: type })}>{type}</a>
            <span class="muted">{count(number)}</span>
          </li>
        ))}
        {others > 0 && (
          <li>
            <span class="muted">
              {types.length - shownTypes === 1 ? 'another type' : `${types.length - shownTypes} other types`}
            </span>
            <span class="muted">{count(others)}</span>
          </li>
        )}
      </ul>
    </Card>
  )
}

const shownEvents = 12

const Events = ({ events }: { events: readonly FleetEvent[] }) => (
  <Card title="Newest events" class="events">
    {events.length === 0 ? (
      <p class="muted">Nothing has happened yet.</p>
    ) : (
      <ol class="event-list">
        {events
          .slice(0, shownEvents)
          .map(({ id, device_id: deviceId, device_name: name, kind, at, last_at: lastAt, count, detail }) => (
            <li key={id}>
              <span class={`dot ${eventTone(kind)}`} aria-hidden="true" />
              <span class="event-text">
                <a href={href(`/devices/${deviceId}`)}>{name}</a> {eventSentence(kind, detail, count)}
              </span>
              <span class="small muted nowrap">
                <Time time={lastAt ?? at} />
              </span>
            </li>
          ))}
      </ol>
    )}
  </Card>
)

/** Left out where none is open: an empty card would only push the others down. */
const Alerts = ({ overview }: { overview: Overview }) => {
  const open = openCount(overview)
  const newest = overview.alerts?.newest ?? []
  if (open === 0) return null
  return (
    <Card title="Open alerts" class="wide" aside={<a href={href('/alerts')}>All {count(open)}</a>}>
      {newest.length === 0 && <p class="muted">All are acknowledged.</p>}
      <ol class="event-list">
        {newest.map((alert) => (
          <AlertLine key={alert.id} alert={alert} withDevice />
        ))}
      </ol>
    </Card>
  )
}

const lead = ({ total, online }: Overview['devices']) =>
  `${count(total)} ${total === 1 ? 'device' : 'devices'}, ${count(online)} online`

export const OverviewPage = () => {
  const overview = live.overview.value
  if (overview === undefined)
    return (
      <>
        <PageHead title="Overview" lead="Asking the server" />
        <Loading lines={6} />
      </>
    )
  // A fresh system: nothing is more useful than the first device.
  if (overview.devices.total === 0)
    return (
      <>
        <PageHead title="Overview" lead="The server runs and waits for its first device." />
        <div class="grid">
          <Card title="Connect your first device" class="wide">
            <ConnectDevice />
          </Card>
          <Parts overview={overview} />
        </div>
      </>
    )
  return (
    <>
      <PageHead
        title="Overview"
        lead={lead(overview.devices)}
        actions={
          <ButtonLink href={href('/connect')} icon="plus" kind="primary">
            Connect a device
          </ButtonLink>
        }
      />
      <div class="overview">
        {overview.accounting && <Accounting accounting={overview.accounting} />}
        <Alerts overview={overview} />
        <div class="column">
          <Messages overview={overview} />
          <Events events={overview.events} />
        </div>
        <div class="column">
          <Parts overview={overview} />
          <Devices devices={overview.devices} />
        </div>
      </div>
    </>
  )
}
