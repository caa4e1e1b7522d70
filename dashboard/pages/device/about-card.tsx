/** What is registered of a device, what it sent with its last reading, and the account of its readings. */
import { localTime, span } from '../../format.ts'
import { LabelList } from '../../ui/labels.tsx'
import { Card } from '../../ui/layout.tsx'
import { Time } from '../../ui/time.tsx'
import type { DeviceDetails } from '../devices/answers.ts'

const Fact = ({ name, value }: { name: string; value: string | number | null }) =>
  value === null || value === '' ? null : (
    <>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </>
  )

interface AboutCardProps {
  details: DeviceDetails
  /** Of the newest reading that had some. */
  metadata: Readonly<Record<string, string>>
  /** ISO 8601; newer than that of the device while readings come. */
  lastSeen: string | null
}

export const AboutCard = ({ details, metadata, lastSeen }: AboutCardProps) => {
  const { device } = details
  return (
    <Card title="About">
      <dl class="facts">
        <Fact name="Id" value={device.id} />
        <Fact name="Description" value={device.description} />
        <Fact name="Type" value={device.device_type} />
        <Fact name="Location" value={device.location} />
        {Object.keys(device.labels).length > 0 && (
          <>
            <dt>Labels</dt>
            <dd>
              <LabelList labels={device.labels} />
            </dd>
          </>
        )}
        <Fact name="Time zone" value={device.timezone ?? 'UTC'} />
        <Fact name="Firmware" value={device.firmware_version} />
        <Fact name="Hardware" value={device.hardware_version} />
        <dt>Last seen</dt>
        <dd>
          <Time time={lastSeen} />
        </dd>
        <Fact name="Offline after" value={`${span(device.offline_after_s)} of silence`} />
        <Fact name="Registered" value={localTime(device.created_at)} />
        {Object.entries(metadata).map(([name, value]) => (
          <Fact key={name} name={name} value={value} />
        ))}
      </dl>
    </Card>
  )
}

const accountRows = [
  ['Stored', 'stored'],
  ['Waiting in the spool', 'spooled'],
  ['Rejected', 'rejected'],
  ['Duplicates', 'duplicates'],
] as const

/** Every reading that came is in one of these: the difference is 0, or something was lost. */
export const AccountCard = ({
  accounting,
  kept,
}: {
  accounting: DeviceDetails['accounting']
  kept: number
}) => {
  const sum = accountRows.reduce((total, [, name]) => total + accounting[name], 0)
  const difference = accounting.received - sum
  return (
    <Card title="Readings">
      <dl class="facts numbers">
        <dt>Received</dt>
        <dd>{accounting.received.toLocaleString()}</dd>
        {accountRows.map(([text, name]) => (
          <>
            <dt key={`${name} name`}>{text}</dt>
            <dd key={name}>{accounting[name].toLocaleString()}</dd>
          </>
        ))}
        <dt>
          <strong>Difference</strong>
        </dt>
        <dd>
          <strong class={difference === 0 ? 'good-text' : 'error-text'}>{difference.toLocaleString()}</strong>
        </dd>
      </dl>
      <p class="muted small">
        Kept now: {kept.toLocaleString()}. With warnings: {accounting.warned.toLocaleString()}.
        {!accounting.exact && ' Readings in a queue are not counted exactly.'}
      </p>
    </Card>
  )
}
