/** One webhook: what it is told of, whether it works, and the log of its deliveries. */
import { useState } from 'preact/hooks'
import { type ApiError, get, type Result } from '../../api.ts'
import { useEvery } from '../../every.ts'
import { count, localTime } from '../../format.ts'
import type { PageProps } from '../../pages.ts'
import { useResource } from '../../resource.ts'
import { href, navigate } from '../../router.ts'
import { Button, ButtonLink } from '../../ui/button.tsx'
import { confirm, Dialog } from '../../ui/dialog.tsx'
import { Select } from '../../ui/field.tsx'
import { Card, PageHead } from '../../ui/layout.tsx'
import { EmptyState, ErrorNotice, Loading } from '../../ui/states.tsx'
import { toast } from '../../ui/toast.tsx'
import type { Attempt, ShownWebhook, Webhook } from './answers.ts'
import { AttemptResult } from './attempt.tsx'
import { deleteWebhook, rotateSecret, testWebhook, updateWebhook } from './calls.ts'
import { DeliveriesCard } from './deliveries.tsx'
import { NewSecret } from './secret.tsx'
import { WebhookState } from './state.tsx'
import { WebhookDialog } from './webhook-form.tsx'

const refreshMs = 5000

const overlaps = [
  ['86400', 'for a day'],
  ['604800', 'for a week'],
  ['3600', 'for an hour'],
  ['0', 'not at all'],
] as const

interface DialogProps {
  webhook: Webhook
  onClose: () => void
  onChanged: () => void
}

const RotateSecret = ({ webhook, onClose, onChanged }: DialogProps) => {
  const [overlap, setOverlap] = useState('86400')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<ApiError>()
  const [secret, setSecret] = useState<string>()
  const rotate = async () => {
    setBusy(true)
    const answer = await rotateSecret(webhook.id, Number(overlap))
    setBusy(false)
    if (!answer.ok) return setError(answer.error)
    setSecret(answer.value.secret)
    onChanged()
  }
  return (
    <Dialog
      title={secret === undefined ? 'Make a new secret' : `The new secret of ${webhook.name}`}
      onClose={onClose}
      actions={
        secret === undefined ? (
          <>
            <Button onClick={onClose}>Cancel</Button>
            <Button kind="primary" busy={busy} onClick={() => void rotate()}>
              Make a new secret
            </Button>
          </>
        ) : (
          <Button kind="primary" onClick={onClose}>
            Done
          </Button>
        )
      }
    >
      {error && <ErrorNotice error={error} />}
      {secret === undefined ? (
        <Select
          label="Messages are signed with the secret in use, too"
          value={overlap}
          onInput={setOverlap}
          options={overlaps}
          hint="Long enough for the receiver to get the new one."
        />
      ) : (
        <NewSecret secret={secret} />
      )}
    </Dialog>
  )
}

const TestResult = ({ attempt, onClose }: { attempt: Attempt; onClose: () => void }) => (
  <Dialog
    title={attempt.error === null ? 'The test call arrived' : 'The test call failed'}
    onClose={onClose}
    actions={
      <Button kind="primary" onClick={onClose}>
        Done
      </Button>
    }
  >
    <AttemptResult attempt={attempt} />
  </Dialog>
)

const Facts = ({ webhook }: { webhook: Webhook }) => (
  <Card title="About">
    <dl class="facts">
      <dt>Address</dt>
      <dd>
        <code>{webhook.url}</code>
      </dd>
      <dt>Events</dt>
      <dd>{webhook.events.join(', ')}</dd>
      <dt>State</dt>
      <dd>
        <WebhookState webhook={webhook} />
      </dd>
      <dt>Waiting</dt>
      <dd>{count(webhook.pending)}</dd>
      <dt>Made</dt>
      <dd>{localTime(webhook.created_at)}</dd>
    </dl>
  </Card>
)

const agreesToDelete = ({ name, pending }: Webhook) =>
  confirm({
    title: `Delete the webhook ${name}?`,
    text: (
      <p>
        {pending > 0 &&
          `${count(pending)} ${pending === 1 ? 'event waits' : 'events wait'} to be sent there. `}
        Its log goes with it. This cannot be undone.
      </p>
    ),
    action: 'Delete',
    danger: true,
  })

type Opened = 'edit' | 'rotate' | Attempt | undefined

const Known = ({ webhook, onChanged }: { webhook: Webhook; onChanged: () => void }) => {
  const [opened, open] = useState<Opened>()
  const [isTesting, setTesting] = useState(false)
  const [turn, setTurn] = useState(0)
  const close = () => open(undefined)
  const act = async (call: Promise<Result<unknown>>, done: string) => {
    const answer = await call
    toast(answer.ok ? done : answer.error.message, answer.ok ? 'good' : 'bad')
    if (answer.ok) onChanged()
    return answer.ok
  }
  const test = async () => {
    setTesting(true)
    const answer = await testWebhook(webhook.id)
    setTesting(false)
    if (!answer.ok) return toast(answer.error.message, 'bad')
    open(answer.value.attempt)
    setTurn((before) => before + 1)
    onChanged()
  }
  const remove = async () => {
    if (!(await agreesToDelete(webhook))) return
    if (await act(deleteWebhook(webhook.id), `${webhook.name} is deleted.`)) navigate('/settings/webhooks')
  }
  return (
    <>
      <PageHead
        title={webhook.name}
        back={{ href: href('/settings/webhooks'), text: 'Webhooks' }}
        actions={
          <>
            <Button kind="primary" busy={isTesting} onClick={() => void test()}>
              Send a test
            </Button>
            <Button icon="edit" onClick={() => open('edit')}>
              Edit
            </Button>
            <Button icon="key" onClick={() => open('rotate')}>
              New secret
            </Button>
            <Button
              onClick={() =>
                void act(
                  updateWebhook(webhook.id, { enabled: !webhook.enabled }),
                  `${webhook.name} is ${webhook.enabled ? 'off' : 'on'}.`,
                )
              }
            >
              {webhook.enabled ? 'Turn off' : 'Turn on'}
            </Button>
            <Button icon="trash" onClick={() => void remove()}>
              Delete
            </Button>
          </>
        }
      />
      <div class="stack">
        <Facts webhook={webhook} />
        <DeliveriesCard webhookId={webhook.id} turn={turn} onChanged={onChanged} />
      </div>
      {opened === 'edit' && <WebhookDialog webhook={webhook} onClose={close} onSaved={onChanged} />}
      {opened === 'rotate' && <RotateSecret webhook={webhook} onClose={close} onChanged={onChanged} />}
      {typeof opened === 'object' && <TestResult attempt={opened} onClose={close} />}
    </>
  )
}

export const WebhookPage = ({ params }: PageProps) => {
  const path = `admin/webhooks/${Number(params.id)}`
  const { value, error, loading, reload } = useResource(path, (signal) =>
    get<ShownWebhook>(path, undefined, { signal }),
  )
  useEvery(refreshMs, () => {
    if (!loading && value !== undefined) reload()
  })
  if (value !== undefined) return <Known webhook={value.webhook} onChanged={reload} />
  if (error === undefined) return <Loading lines={6} />
  if (error.status !== 404) return <ErrorNotice error={error} onRetry={reload} />
  return (
    <EmptyState
      icon="hook"
      title="There is no such webhook"
      actions={<ButtonLink href={href('/settings/webhooks')}>To the webhooks</ButtonLink>}
    >
      It may have been deleted.
    </EmptyState>
  )
}
