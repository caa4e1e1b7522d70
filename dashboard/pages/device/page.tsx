/** One device: its charts, its newest values, what happened to it, its configuration, commands and keys. */
import { effect } from '@preact/signals'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { Reading } from '../../answers.ts'
import { get } from '../../api.ts'
import { ChartModel } from '../../charts/model.ts'
import { useEvery } from '../../every.ts'
import { laterTime } from '../../format.ts'
import { live } from '../../live.ts'
import type { PageProps } from '../../pages.ts'
import { type Resource, useResource } from '../../resource.ts'
import { href } from '../../router.ts'
import { ButtonLink } from '../../ui/button.tsx'
import { PageHead } from '../../ui/layout.tsx'
import { EmptyState, ErrorNotice, Loading } from '../../ui/states.tsx'
import { OnlineDot, StatusBadge } from '../../ui/status.tsx'
import { Time } from '../../ui/time.tsx'
import type { DeviceDetails } from '../devices/answers.ts'
import { AboutCard, AccountCard } from './about-card.tsx'
import { DeviceActions } from './actions.tsx'
import { AlertsCard } from './alerts-card.tsx'
import type { DeviceEvents, Fields } from './answers.ts'
import { ChartsCard } from './charts-card.tsx'
import { CommandsCard } from './commands-card.tsx'
import { ConfigCard } from './config-card.tsx'
import { CredentialsCard } from './credentials-card.tsx'
import { EventsCard, WarningsCard } from './events-card.tsx'
import { ExportButton } from './export-button.tsx'
import { LatestCard } from './latest-card.tsx'
import { NewestValues } from './newest.ts'
import { PresenceCard } from './presence-card.tsx'
import { placeFields } from './track.ts'
import { TrackCard } from './track-card.tsx'

/** Events that the page reads: for the list, the presence and the warnings. */
const eventCount = 500
/** Time between two looks at what no event tells of, ms. */
const refreshMs = 60_000
/** Time from a reading to the look at the account, ms: the server counts the readings of the device for it. */
const accountMs = 3000

interface DeviceData {
  readonly details: Resource<DeviceDetails>
  readonly events: Resource<DeviceEvents>
  readonly fields: Resource<Fields>
  /** Raised when the configuration may have changed. */
  readonly turn: number
}

/** What the page reads of the server beside readings, kept up to date by the events of the device. */
function useDevice(id: number): DeviceData {
  const path = `admin/devices/${id}`
  const details = useResource(path, (signal) => get<DeviceDetails>(path, undefined, { signal }))
  const events = useResource(`${path}/events`, (signal) =>
    get<DeviceEvents>(`${path}/events`, { limit: eventCount }, { signal }),
  )
  const fields = useResource(`telemetry/${id}/fields`, (signal) =>
    get<Fields>(`telemetry/${id}/fields`, undefined, { signal }),
  )
  const [turn, setTurn] = useState(0)
  const reload = useRef(() => {})
  reload.current = () => {
    details.reload()
    events.reload()
    setTurn((before) => before + 1)
  }
  useEffect(() => {
    return live.onEvent((event) => {
      if (event.device_id === id) reload.current()
    })
  }, [id])
  useEvery(refreshMs, () => reload.current())
  return { details, events, fields, turn }
}

/** The newest values and the model of the charts, fed by live readings. */
function useReadings(id: number, fields: Resource<Fields>, hasReadings: boolean) {
  const model = useMemo(() => new ChartModel(), [])
  const newest = useMemo(() => new NewestValues(id), [id])
  const known = useRef<ReadonlySet<string>>(new Set())
  known.current = new Set(fields.value?.fields.map(({ name }) => name))
  const reloadFields = useRef(fields.reload)
  reloadFields.current = fields.reload
  useEffect(() => {
    // Of a device without readings the server has no newest one.
    if (hasReadings) void newest.load()
    const endWatch = live.watchDevice(id, (reading: Reading) => {
      newest.add(reading)
      model.addReading(reading, live.state.peek() === 'live')
      if (newest.values.peek().some(({ field }) => !known.current.has(field))) reloadFields.current()
    })
    // Readings may be missing after a pause of the stream, and after messages that were left out.
    const endCatchUp = effect(() => {
      if (live.skipped.value >= 0 && live.state.value === 'live') model.refresh()
    })
    return () => {
      endWatch()
      endCatchUp()
    }
  }, [id, model, newest])
  return { model, newest }
}

/** Reads the account of the device again a while after readings have come, however many they are. */
function useReloadAfterReadings(id: number, reload: () => void): void {
  const newest = useRef(reload)
  newest.current = reload
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    const end = live.watchDevice(id, () => {
      timer ??= setTimeout(() => {
        timer = undefined
        newest.current()
      }, accountMs)
    })
    return () => {
      end()
      clearTimeout(timer)
    }
  }, [id])
}

const Lead = ({ device, lastSeen }: { device: DeviceDetails['device']; lastSeen: string | null }) => (
  <span class="device-lead">
    <OnlineDot online={device.is_online} />
    <StatusBadge status={device.status} />
    <span>{device.device_type}</span>
    {device.location && <span>{device.location}</span>}
    <span>
      seen <Time time={lastSeen} />
    </span>
  </span>
)

const Known = ({
  details,
  data,
  query,
}: {
  details: DeviceDetails
  data: DeviceData
  query: URLSearchParams
}) => {
  const { device } = details
  const { model, newest } = useReadings(device.id, data.fields, device.telemetry_count > 0)
  useReloadAfterReadings(device.id, data.details.reload)
  const lastSeen = laterTime(device.last_seen, newest.seenAt.value)
  const names = useMemo(
    () => [...new Set(data.fields.value?.fields.map(({ name }) => name))],
    [data.fields.value],
  )
  newest.useFields(data.fields.value?.fields)
  const units = newest.units.value
  const place = placeFields(names)
  const events = data.events.value?.events ?? []
  const changed = () => {
    data.details.reload()
    data.events.reload()
    void live.refresh()
  }
  return (
    <>
      <PageHead
        title={device.name}
        back={{ href: href('/devices'), text: 'Devices' }}
        lead={<Lead device={device} lastSeen={lastSeen} />}
        actions={<DeviceActions device={device} onChanged={changed} />}
      />
      {data.fields.value === undefined ? (
        <Loading lines={6} />
      ) : (
        <ChartsCard
          deviceId={device.id}
          model={model}
          fields={data.fields.value.fields}
          units={units}
          query={query}
          newestAt={newest.time.value}
          aside={<ExportButton device={device} fields={names} span={() => model.span()} />}
        />
      )}
      <AlertsCard deviceId={device.id} />
      <PresenceCard events={events} registeredAt={device.created_at} />
      <div class="device-columns">
        <div>
          <LatestCard values={newest.values.value} units={units} />
          {place && <TrackCard model={model} fields={place} />}
          <EventsCard events={events} />
          <WarningsCard events={events} />
          <CredentialsCard details={details} lastSeen={lastSeen} onChanged={changed} />
        </div>
        <div>
          <AboutCard details={details} metadata={newest.metadata.value} lastSeen={lastSeen} />
          <ConfigCard deviceId={device.id} turn={data.turn} />
          <CommandsCard deviceId={device.id} />
          <AccountCard accounting={details.accounting} kept={device.telemetry_count} />
        </div>
      </div>
    </>
  )
}

export const DevicePage = ({ params, query }: PageProps) => {
  const id = Number(params.id)
  const data = useDevice(id)
  const { value, error, reload } = data.details
  if (value !== undefined) return <Known details={value} data={data} query={query} />
  if (error === undefined) return <Loading lines={8} />
  if (error.status !== 404) return <ErrorNotice error={error} onRetry={reload} />
  return (
    <EmptyState
      icon="devices"
      title="There is no such device"
      actions={<ButtonLink href={href('/devices')}>To the devices</ButtonLink>}
    >
      It may have been deleted.
    </EmptyState>
  )
}
