/** The alerts of the device: those that are open, and the newest that are over. */
import { get } from '../../api.ts'
import { useEvery } from '../../every.ts'
import { useResource } from '../../resource.ts'
import { href } from '../../router.ts'
import { Card } from '../../ui/layout.tsx'
import { ErrorNotice } from '../../ui/states.tsx'
import { AlertLine } from '../alerts/alert-line.tsx'
import type { AlertList } from '../alerts/answers.ts'

const shown = 5
const refreshMs = 5000

export const AlertsCard = ({ deviceId }: { deviceId: number }) => {
  const list = useResource(`alerts ${deviceId}`, (signal) =>
    get<AlertList>('admin/alerts', { device_id: deviceId, limit: 50 }, { signal }),
  )
  useEvery(refreshMs, () => {
    if (!list.loading) list.reload()
  })
  const alerts = list.value?.alerts ?? []
  const over = alerts.filter(({ cleared_at: clearedAt }) => clearedAt !== null)
  const open = alerts.filter(({ cleared_at: clearedAt }) => clearedAt === null)
  return (
    <Card
      title="Alerts"
      aside={
        <span class="card-links">
          <a href={href('/alerts/rules', { create: 1, device_id: deviceId })}>New rule</a>
          <a href={href('/alerts', { device_id: deviceId })}>All alerts of the device</a>
        </span>
      }
    >
      {list.error && <ErrorNotice error={list.error} onRetry={list.reload} />}
      {list.value !== undefined && alerts.length === 0 && <p class="muted">There has been none.</p>}
      <ol class="event-list">
        {[...open, ...over].slice(0, Math.max(shown, open.length)).map((alert) => (
          <AlertLine key={alert.id} alert={alert} />
        ))}
      </ol>
    </Card>
  )
}
