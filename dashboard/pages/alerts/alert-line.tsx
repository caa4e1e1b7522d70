/** One alert in a line, for the overview and the page of a device. */
import { href } from '../../router.ts'
import { Badge } from '../../ui/status.tsx'
import { Time } from '../../ui/time.tsx'
import type { Alert } from './answers.ts'
import { deviceText, measuredPhrase, toneOfSeverity } from './words.ts'

export const SeverityBadge = ({ severity }: Pick<Alert, 'severity'>) => (
  <Badge tone={toneOfSeverity[severity]}>{severity}</Badge>
)

/** A deleted device has no page. */
export const DeviceLink = ({ alert }: { alert: Alert }) =>
  alert.device_name === null ? (
    <span class="muted">{deviceText(alert)}</span>
  ) : (
    <a href={href(`/devices/${alert.device_id}`)}>{alert.device_name}</a>
  )

interface AlertLineProps {
  alert: Alert
  /** Left out on the page of the device itself. */
  withDevice?: boolean
}

export const AlertLine = ({ alert, withDevice = false }: AlertLineProps) => (
  <li>
    <SeverityBadge severity={alert.severity} />
    <span class="event-text">
      <a href={href('/alerts', { alert: alert.id })}>{alert.rule_name}</a>
      {withDevice && (
        <>
          {' on '}
          <DeviceLink alert={alert} />
        </>
      )}
      {alert.last_value !== null && alert.cleared_at === null && (
        <span class="muted">: {measuredPhrase(alert, alert.last_value)}</span>
      )}
      {alert.cleared_at !== null && <span class="muted"> is cleared</span>}
    </span>
    <span class="small muted nowrap">
      <Time time={alert.cleared_at ?? alert.opened_at} />
    </span>
  </li>
)
