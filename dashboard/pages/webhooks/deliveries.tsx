/** The log of a webhook: what it was told, with each attempt. */
import { useState } from 'preact/hooks'
import { type ApiError, get } from '../../api.ts'
import { useCursors } from '../../cursors.ts'
import { useEvery } from '../../every.ts'
import { count, localTime } from '../../format.ts'
import { useResource } from '../../resource.ts'
import { href } from '../../router.ts'
import { Button } from '../../ui/button.tsx'
import { Dialog } from '../../ui/dialog.tsx'
import { Select } from '../../ui/field.tsx'
import { Card } from '../../ui/layout.tsx'
import { ErrorNotice, Loading, Pager } from '../../ui/states.tsx'
import { Badge } from '../../ui/status.tsx'
import { type Column, Table } from '../../ui/table.tsx'
import { Time } from '../../ui/time.tsx'
import { toast } from '../../ui/toast.tsx'
import { type Delivery, type DeliveryList, deliveryStatuses, type ShownDelivery } from './answers.ts'
import { AttemptResult } from './attempt.tsx'
import { retryDelivery } from './calls.ts'
import { toneOfDelivery } from './words.ts'

const pageSize = 25
const refreshMs = 5000

const DeliveryBadge = ({ status }: Pick<Delivery, 'status'>) => (
  <Badge tone={toneOfDelivery[status]}>{status}</Badge>
)

const columnsFor = (open: (delivery: Delivery) => void): readonly Column<Delivery>[] => [
  {
    name: 'Event',
    cell: (delivery) => (
      <button type="button" class="link" onClick={() => open(delivery)}>
        <code>{delivery.type}</code>
      </button>
    ),
  },
  {
    name: 'Device',
    cell: ({ device_id: id }) =>
      id === null ? <span class="muted">none</span> : <a href={href(`/devices/${id}`)}>{id}</a>,
  },
  { name: 'State', cell: ({ status }) => <DeliveryBadge status={status} /> },
  { name: 'Attempts', number: true, cell: ({ attempt_count: attempts }) => count(attempts) },
  {
    name: 'Last answer',
    cell: ({ last_status_code: code, last_error: error }) =>
      error === null ? (code ?? <span class="muted">–</span>) : <span class="small">{error}</span>,
  },
  {
    name: 'Happened',
    cell: ({ created_at: time }) => (
      <span class="nowrap">
        <Time time={time} />
      </span>
    ),
  },
  {
    name: 'Next try',
    cell: ({ status, next_attempt_at: time }) =>
      status === 'pending' && time !== null ? (
        <span class="nowrap">
          <Time time={time} />
        </span>
      ) : (
        <span class="muted">–</span>
      ),
  },
]

interface DeliveryDialogProps {
  webhookId: number
  delivery: Delivery
  onClose: () => void
  onChanged: () => void
}

const DeliveryDialog = ({ webhookId, delivery, onClose, onChanged }: DeliveryDialogProps) => {
  const path = `admin/webhooks/${webhookId}/deliveries/${delivery.id}`
  const details = useResource(path, (signal) => get<ShownDelivery>(path, undefined, { signal }))
  const [error, setError] = useState<ApiError>()
  const [busy, setBusy] = useState(false)
  const shown = details.value?.delivery
  const retry = async () => {
    setBusy(true)
    const answer = await retryDelivery(webhookId, delivery.id)
    setBusy(false)
    setError(answer.ok ? undefined : answer.error)
    if (!answer.ok) return
    toast('It is sent again.')
    details.reload()
    onChanged()
  }
  return (
    <Dialog
      title={`Delivery ${delivery.id}`}
      wide
      onClose={onClose}
      actions={
        <Button icon="replay" busy={busy} onClick={() => void retry()}>
          Send again
        </Button>
      }
    >
      {error && <ErrorNotice error={error} />}
      {details.error && <ErrorNotice error={details.error} onRetry={details.reload} />}
      {shown === undefined && details.error === undefined && <Loading />}
      {shown && (
        <>
          <dl class="facts">
            <dt>Event</dt>
            <dd>
              <code>{shown.type}</code>
            </dd>
            <dt>Message id</dt>
            <dd>
              <code>{shown.event_id}</code>
            </dd>
            <dt>State</dt>
            <dd>
              <DeliveryBadge status={shown.status} />
            </dd>
          </dl>
          <section aria-label="Attempts">
            <h3>Attempts</h3>
            {shown.attempts.length === 0 && <p class="muted">There has been none yet.</p>}
            <ol class="alert-history">
              {shown.attempts.map((attempt) => (
                <li key={attempt.at}>
                  <span class="small muted">{localTime(attempt.at)}</span>
                  <AttemptResult attempt={attempt} />
                </li>
              ))}
            </ol>
          </section>
          <details class="more">
            <summary>The message</summary>
            {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable with the keyboard. */}
            <pre class="code answer" tabIndex={0}>
              {JSON.stringify(shown.body, undefined, 2)}
            </pre>
          </details>
        </>
      )}
    </Dialog>
  )
}

interface DeliveriesCardProps {
  webhookId: number
  /** Raised when something was sent: the list is asked for again. */
  turn: number
  onChanged: () => void
}

export const DeliveriesCard = ({ webhookId, turn, onChanged }: DeliveriesCardProps) => {
  const [status, setStatus] = useState('')
  const key = `deliveries ${webhookId} ${status} ${turn}`
  const { page, cursor, go } = useCursors(key)
  const [opened, setOpened] = useState<Delivery>()
  const list = useResource(`${key} ${cursor}`, (signal) =>
    get<DeliveryList>(
      `admin/webhooks/${webhookId}/deliveries`,
      { limit: pageSize, cursor, status: status === '' ? undefined : status },
      { signal },
    ),
  )
  useEvery(refreshMs, () => {
    if (page === 0 && !list.loading) list.reload()
  })
  const deliveries = list.value?.deliveries ?? []
  return (
    <Card
      title="Deliveries"
      aside={
        <Select
          label="State of the deliveries"
          hideLabel
          value={status}
          onInput={setStatus}
          options={[['', 'All'], ...deliveryStatuses.map((name) => [name, name] as const)]}
        />
      }
    >
      {list.error && <ErrorNotice error={list.error} onRetry={list.reload} />}
      {list.value === undefined && list.error === undefined && <Loading lines={4} />}
      {list.value !== undefined && deliveries.length === 0 && page === 0 && (
        <p class="muted">
          {status === '' ? 'It has been told nothing yet. What ended is kept for 7 days.' : 'None.'}
        </p>
      )}
      {deliveries.length > 0 && (
        <>
          <Table
            caption="Deliveries, newest first"
            columns={columnsFor(setOpened)}
            rows={deliveries}
            keyOf={({ id }) => id}
          />
          {(page > 0 || list.value?.next_cursor !== undefined) && (
            <Pager
              page={page}
              pageSize={pageSize}
              shown={deliveries.length}
              hasNext={list.value?.next_cursor !== undefined}
              onPage={(to) => go(to, list.value?.next_cursor)}
            />
          )}
        </>
      )}
      {opened && (
        <DeliveryDialog
          webhookId={webhookId}
          delivery={opened}
          onClose={() => setOpened(undefined)}
          onChanged={() => {
            list.reload()
            onChanged()
          }}
        />
      )}
    </Card>
  )
}
