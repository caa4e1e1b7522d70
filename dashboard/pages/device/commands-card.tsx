/** Commands to the device with what became of each. Servers without commands answer 404: the card is left out then. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { type ApiError, get, post, remove } from '../../api.ts'
import { useResource } from '../../resource.ts'
import { Button } from '../../ui/button.tsx'
import { confirm, Dialog } from '../../ui/dialog.tsx'
import { errorAt, Field, Select } from '../../ui/field.tsx'
import { Card } from '../../ui/layout.tsx'
import { ErrorNotice } from '../../ui/states.tsx'
import { Badge, type Tone } from '../../ui/status.tsx'
import { Time } from '../../ui/time.tsx'
import { toast } from '../../ui/toast.tsx'

interface Command {
  readonly command_id: string
  readonly command: string
  readonly params: unknown
  readonly channel: string | null
  readonly status: string
  readonly attempts?: number
  readonly issued_at: string
  readonly expires_at: string
  readonly sent_at?: string | null
  readonly acknowledged_at?: string | null
  readonly finished_at?: string | null
  readonly result?: unknown
}

interface CommandList {
  readonly commands: readonly Command[]
}

const tones: Readonly<Record<string, Tone>> = {
  queued: 'neutral',
  sent: 'accent',
  acknowledged: 'accent',
  succeeded: 'good',
  failed: 'bad',
  expired: 'warn',
  cancelled: 'neutral',
}

const open = new Set(['queued', 'sent', 'acknowledged'])

/** Time between two looks at commands that have not ended, ms. */
const openMs = 2000
const quietMs = 15_000

const jsonText = (value: unknown) => (value === null || value === undefined ? '' : JSON.stringify(value))

const Steps = ({ command }: { command: Command }) => {
  const steps = [
    ['queued', command.issued_at],
    ['sent', command.sent_at],
    ['acknowledged', command.acknowledged_at],
    [open.has(command.status) ? '' : command.status, command.finished_at],
  ] as const
  return (
    <ol class="command-steps small muted">
      {steps.map(
        ([name, at]) =>
          at &&
          name && (
            <li key={name}>
              {name} <Time time={at} />
            </li>
          ),
      )}
      {open.has(command.status) && (
        <li>
          expires <Time time={command.expires_at} />
        </li>
      )}
    </ol>
  )
}

const Line = ({ command, onCancel }: { command: Command; onCancel: () => void }) => (
  <li>
    <Badge tone={tones[command.status] ?? 'neutral'}>{command.status}</Badge>
    <div>
      <strong>{command.command}</strong> <code>{jsonText(command.params)}</code>
      {command.channel && <span class="muted small"> on {command.channel}</span>}
      {(command.attempts ?? 0) > 1 && <span class="muted small"> {command.attempts} deliveries</span>}
      {command.result !== null && command.result !== undefined && (
        <div class="small">
          Result <code>{jsonText(command.result)}</code>
        </div>
      )}
      <Steps command={command} />
    </div>
    {open.has(command.status) && (
      <Button small kind="quiet" onClick={onCancel}>
        Cancel
      </Button>
    )}
  </li>
)

const ttls = [
  ['60', '1 minute'],
  ['3600', '1 hour'],
  ['86400', '1 day'],
  ['604800', '1 week'],
] as const

const channels = [
  ['', 'commands'],
  ['control', 'commands/control'],
  ['config', 'commands/config'],
  ['firmware', 'commands/firmware'],
] as const

/** The parameters as JSON; undefined for text that is none. */
const parseParams = (text: string): { readonly value?: unknown } | undefined => {
  if (text.trim() === '') return {}
  try {
    return { value: JSON.parse(text) as unknown }
  } catch {
    return undefined
  }
}

const SendCommand = ({
  deviceId,
  onClose,
  onSent,
}: {
  deviceId: number
  onClose: () => void
  onSent: () => void
}) => {
  const [form, setForm] = useState({ command: '', params: '', channel: '', ttl: '86400' })
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<ApiError>()
  const params = parseParams(form.params)
  const send = async () => {
    if (params === undefined) return
    setBusy(true)
    const answer = await post<{ command_id: string }>(`admin/devices/${deviceId}/commands`, {
      command: form.command,
      ...(params.value === undefined ? {} : { params: params.value }),
      ...(form.channel === '' ? {} : { channel: form.channel }),
      ttl_s: Number(form.ttl),
    })
    setBusy(false)
    if (!answer.ok) return setError(answer.error)
    toast('The command is on its way.')
    onSent()
    onClose()
  }
  return (
    <Dialog title="Send a command" onClose={onClose}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault()
          void send()
        }}
      >
        {error && <ErrorNotice error={error} />}
        <Field
          label="Command"
          value={form.command}
          onInput={(command) => setForm({ ...form, command })}
          required
          autofocus
          autocomplete="off"
          error={errorAt(error, 'command')}
        />
        <Field
          label="Parameters"
          hint="JSON, or nothing."
          rows={3}
          mono
          value={form.params}
          onInput={(text) => setForm({ ...form, params: text })}
          error={params === undefined ? 'must be JSON' : errorAt(error, 'params')}
        />
        <div class="form-row">
          <Select
            label="Topic"
            value={form.channel}
            onInput={(channel) => setForm({ ...form, channel })}
            options={channels}
          />
          <Select
            label="Expires after"
            value={form.ttl}
            onInput={(ttl) => setForm({ ...form, ttl })}
            options={ttls}
          />
        </div>
        <div class="actions end">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" busy={busy} disabled={params === undefined}>
            Send
          </Button>
        </div>
      </form>
    </Dialog>
  )
}

export const CommandsCard = ({ deviceId }: { deviceId: number }) => {
  const path = `admin/devices/${deviceId}/commands`
  const [sending, setSending] = useState(false)
  const list = useResource(path, (signal) => get<CommandList>(path, { limit: 20 }, { signal }))
  const commands = list.value?.commands ?? []
  const isAnyOpen = commands.some(({ status }) => open.has(status))
  const reload = useRef(list.reload)
  reload.current = list.reload
  const exists = list.value !== undefined
  useEffect(() => {
    if (!exists) return
    const timer = setInterval(() => document.hidden || reload.current(), isAnyOpen ? openMs : quietMs)
    return () => clearInterval(timer)
  }, [isAnyOpen, exists])

  if (!exists && (list.error === undefined || [404, 405, 501].includes(list.error.status))) return null
  const cancel = async ({ command, command_id: id }: Command) => {
    const question = {
      title: `Cancel ${command}?`,
      text: 'A device that has it already may still run it.',
      action: 'Cancel the command',
    }
    if (!(await confirm(question))) return
    const answer = await remove<unknown>(`${path}/${id}`)
    if (!answer.ok) toast(answer.error.message, 'bad')
    list.reload()
  }
  return (
    <Card
      title="Commands"
      aside={
        <Button small onClick={() => setSending(true)}>
          Send a command
        </Button>
      }
    >
      {list.error && <ErrorNotice error={list.error} onRetry={list.reload} />}
      {exists && commands.length === 0 && <p class="muted">None has been sent.</p>}
      <ul class="commands">
        {commands.map((command) => (
          <Line key={command.command_id} command={command} onCancel={() => void cancel(command)} />
        ))}
      </ul>
      {sending && <SendCommand deviceId={deviceId} onClose={() => setSending(false)} onSent={list.reload} />}
    </Card>
  )
}
