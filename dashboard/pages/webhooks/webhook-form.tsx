/** The dialog that makes or edits a webhook. */
import { useState } from 'preact/hooks'
import type { ApiError } from '../../api.ts'
import { href } from '../../router.ts'
import { Button, ButtonLink } from '../../ui/button.tsx'
import { Dialog } from '../../ui/dialog.tsx'
import { errorAt, Field } from '../../ui/field.tsx'
import { ErrorNotice } from '../../ui/states.tsx'
import { toast } from '../../ui/toast.tsx'
import type { NewWebhook, Webhook } from './answers.ts'
import { createWebhook, updateWebhook, type WebhookBody } from './calls.ts'
import { EventBoxes, patternsOf } from './event-boxes.tsx'
import { NewSecret } from './secret.tsx'

interface Draft {
  readonly name: string
  readonly url: string
  readonly chosen: ReadonlySet<string>
}

const draftOf = (webhook?: Webhook): Draft => ({
  name: webhook?.name ?? '',
  url: webhook?.url ?? '',
  chosen: new Set(webhook?.events ?? ['alert.*']),
})

const bodyOf = ({ name, url, chosen }: Draft): WebhookBody => ({
  name: name.trim(),
  url: url.trim(),
  events: patternsOf(chosen),
})

interface WebhookDialogProps {
  /** Undefined makes a new one. */
  webhook?: Webhook
  onClose: () => void
  onSaved: () => void
}

export const WebhookDialog = ({ webhook, onClose, onSaved }: WebhookDialogProps) => {
  const [draft, setDraft] = useState(() => draftOf(webhook))
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<ApiError>()
  const [made, setMade] = useState<NewWebhook>()
  const onChange = (changes: Partial<Draft>) => setDraft((before) => ({ ...before, ...changes }))
  const body = bodyOf(draft)
  const save = async () => {
    setBusy(true)
    if (webhook === undefined) {
      const answer = await createWebhook(body)
      if (answer.ok) setMade(answer.value)
      else setError(answer.error)
      if (answer.ok) onSaved()
    } else {
      const answer = await updateWebhook(webhook.id, body)
      if (answer.ok) {
        toast('Saved.')
        onSaved()
        onClose()
      } else setError(answer.error)
    }
    setBusy(false)
  }
  if (made !== undefined)
    return (
      <Dialog
        title={`The secret of ${made.webhook.name}`}
        onClose={onClose}
        actions={
          <>
            <ButtonLink href={href(`/settings/webhooks/${made.webhook.id}`)}>Open its page</ButtonLink>
            <Button kind="primary" onClick={onClose}>
              Done
            </Button>
          </>
        }
      >
        <NewSecret secret={made.secret} />
      </Dialog>
    )
  return (
    <Dialog title={webhook === undefined ? 'New webhook' : `Edit ${webhook.name}`} onClose={onClose}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault()
          void save()
        }}
      >
        {error && <ErrorNotice error={error} />}
        <Field
          label="Name"
          value={draft.name}
          onInput={(name) => onChange({ name })}
          maxLength={128}
          required
          autofocus
          autocomplete="off"
          error={errorAt(error, 'name')}
        />
        <Field
          label="Address"
          value={draft.url}
          onInput={(url) => onChange({ url })}
          maxLength={2048}
          required
          autocomplete="off"
          placeholder="https://hooks.example.com/iot"
          hint="Each event is sent there by POST. It must be public, unless the settings allow private addresses."
          error={errorAt(error, 'url')}
        />
        <EventBoxes
          chosen={draft.chosen}
          onChange={(chosen) => onChange({ chosen })}
          error={errorAt(error, 'events')}
        />
        <div class="actions end">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" busy={busy} disabled={body.events.length === 0}>
            {webhook === undefined ? 'Make the webhook' : 'Save'}
          </Button>
        </div>
      </form>
    </Dialog>
  )
}
