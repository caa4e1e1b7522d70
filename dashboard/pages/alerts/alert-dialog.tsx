/** One alert: what it is about, its history, and notes of those who looked after it. */
import { useState } from 'preact/hooks'
import { type ApiError, get, type Result } from '../../api.ts'
import { localTime } from '../../format.ts'
import { useResource } from '../../resource.ts'
import { href } from '../../router.ts'
import { Button, ButtonLink } from '../../ui/button.tsx'
import { Dialog } from '../../ui/dialog.tsx'
import { errorAt, Field } from '../../ui/field.tsx'
import { ErrorNotice, Loading } from '../../ui/states.tsx'
import { Badge } from '../../ui/status.tsx'
import { Time } from '../../ui/time.tsx'
import { toast } from '../../ui/toast.tsx'
import { DeviceLink, SeverityBadge } from './alert-line.tsx'
import type { Alert, AlertDetails, ShownAlert } from './answers.ts'
import { acknowledge, addNote } from './calls.ts'
import { alertTitle, clearReasonText, clearText, conditionText, measuredPhrase } from './words.ts'

const toneOfState = { open: 'bad', acknowledged: 'warn', cleared: 'good' } as const

const When = ({ time, children }: { time: string; children?: string }) => (
  <>
    {localTime(time)}
    <span class="muted">
      {' '}
      (<Time time={time} />){children}
    </span>
  </>
)

const Facts = ({ alert }: { alert: Alert }) => {
  const over = clearText(alert.condition)
  return (
    <dl class="facts">
      <dt>State</dt>
      <dd class="badges">
        <SeverityBadge severity={alert.severity} />
        <Badge tone={toneOfState[alert.state]}>{alert.state}</Badge>
      </dd>
      <dt>Device</dt>
      <dd>
        <DeviceLink alert={alert} />
      </dd>
      <dt>Condition</dt>
      <dd>
        {conditionText(alert.condition)}
        {over !== undefined && <span class="muted">, until {over}</span>}
      </dd>
      <dt>Open since</dt>
      <dd>
        <When time={alert.opened_at} />
        {alert.opened_value !== null && `: ${measuredPhrase(alert, alert.opened_value)}`}
      </dd>
      {alert.last_at !== null && alert.last_value !== null && (
        <>
          <dt>Judged last</dt>
          <dd>
            {measuredPhrase(alert, alert.last_value)}{' '}
            <span class="muted">
              <Time time={alert.last_at} />
            </span>
          </dd>
        </>
      )}
      {alert.cleared_at !== null && (
        <>
          <dt>Cleared</dt>
          <dd>
            <When time={alert.cleared_at} />
            {alert.clear_reason !== null && `: ${clearReasonText(alert.clear_reason)}`}
          </dd>
        </>
      )}
    </dl>
  )
}

const stepText: Readonly<Record<string, string>> = {
  opened: 'Opened',
  acknowledged: 'Acknowledged',
  note: 'Note',
  cleared: 'Cleared',
}

const textOfStep = (kind: string, text: string) => (kind === 'cleared' ? clearReasonText(text) : text)

const History = ({ history }: Pick<AlertDetails, 'history'>) => (
  <section aria-label="History">
    <h3>History</h3>
    <ol class="alert-history">
      {history.map(({ at, kind, text }) => (
        <li key={`${at} ${kind} ${text}`}>
          <span class="small muted">{localTime(at)}</span>
          <span>
            <strong>{stepText[kind] ?? kind}</strong>
            {text !== null && text !== '' && <span class="note-text">{textOfStep(kind, text)}</span>}
          </span>
        </li>
      ))}
    </ol>
  </section>
)

interface AlertDialogProps {
  id: number
  onClose: () => void
  onChanged: () => void
}

export const AlertDialog = ({ id, onClose, onChanged }: AlertDialogProps) => {
  const details = useResource(String(id), (signal) =>
    get<ShownAlert>(`admin/alerts/${id}`, undefined, { signal }),
  )
  const [note, setNote] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<ApiError>()
  const alert = details.value?.alert
  const act = async (call: Promise<Result<unknown>>, done: string) => {
    setBusy(true)
    const answer = await call
    setBusy(false)
    setError(answer.ok ? undefined : answer.error)
    if (!answer.ok) return
    toast(done)
    setNote('')
    details.reload()
    onChanged()
  }
  return (
    <Dialog title={alert === undefined ? 'Alert' : alertTitle(alert)} wide onClose={onClose}>
      {details.error && <ErrorNotice error={details.error} onRetry={details.reload} />}
      {alert === undefined && details.error === undefined && <Loading lines={6} />}
      {alert && (
        <>
          <Facts alert={alert} />
          <History history={alert.history} />
          {error && <ErrorNotice error={error} />}
          <Field
            label="Note"
            value={note}
            onInput={setNote}
            rows={2}
            maxLength={2000}
            error={errorAt(error, 'text') ?? errorAt(error, 'note')}
          />
          <footer class="actions end">
            {alert.condition.kind === 'threshold' && alert.device_name !== null && (
              <ButtonLink href={href(`/devices/${alert.device_id}`, { fields: alert.condition.field })}>
                See the chart
              </ButtonLink>
            )}
            <Button
              busy={busy}
              disabled={note.trim() === ''}
              onClick={() => void act(addNote(id, note), 'The note is kept.')}
            >
              Add the note
            </Button>
            {alert.state === 'open' && (
              <Button
                kind="primary"
                icon="check"
                busy={busy}
                onClick={() => void act(acknowledge(id, note), 'Acknowledged.')}
              >
                Acknowledge
              </Button>
            )}
          </footer>
        </>
      )}
    </Dialog>
  )
}
