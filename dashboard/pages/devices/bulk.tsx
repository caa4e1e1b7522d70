/** What is done with a selection of devices: a question, the progress, and a report of what failed. */
import { useMemo, useState } from 'preact/hooks'
import { csvLine, withoutFormula } from '../../../lib/csv.ts'
import { saveFile } from '../../save-file.ts'
import { Button } from '../../ui/button.tsx'
import { confirm, Dialog } from '../../ui/dialog.tsx'
import { Checkbox, Field, Select } from '../../ui/field.tsx'
import { Table } from '../../ui/table.tsx'
import { type Status, statuses } from './answers.ts'
import { BulkRun, type Failure, type Target } from './bulk-run.ts'
import { deleteDevice, graces, type RotatedKey, revokeKeys, rotateKey, setStatus } from './calls.ts'
import { type DeviceKey, NewKeys } from './keys.tsx'

export type BulkAction = 'status' | 'rotate' | 'revoke' | 'delete'

interface Choices {
  readonly status: Status
  readonly graceS: number
  readonly withTelemetry: boolean
}

interface ActionText {
  readonly title: string
  readonly button: string
  readonly danger: boolean
  readonly warning?: string
}

const texts: Readonly<Record<BulkAction, ActionText>> = {
  status: { title: 'Set the status', button: 'Set the status', danger: false },
  rotate: { title: 'Make new keys', button: 'Make new keys', danger: false },
  revoke: {
    title: 'Revoke all keys',
    button: 'Revoke',
    danger: true,
    warning: 'These devices are cut off at once, until each gets a new key.',
  },
  delete: {
    title: 'Delete devices',
    button: 'Delete',
    danger: true,
    warning: 'Their keys, configuration and events go with them. This cannot be undone.',
  },
}

export const devicesCount = (count: number) =>
  `${count.toLocaleString()} ${count === 1 ? 'device' : 'devices'}`

const callFor = (action: BulkAction, { status, graceS, withTelemetry }: Choices) => {
  switch (action) {
    case 'status':
      return ({ id }: Target) => setStatus(id, status)
    case 'rotate':
      return ({ id }: Target) => rotateKey(id, graceS)
    case 'revoke':
      return ({ id }: Target) => revokeKeys(id)
    case 'delete':
      return ({ id }: Target) => deleteDevice(id, withTelemetry)
  }
}

const saveFailures = (failures: readonly Failure[]) =>
  saveFile(
    'iotflow-failures.csv',
    [
      csvLine(['id', 'name', 'code', 'message']),
      ...failures.map(({ id, name, error }) =>
        csvLine([id, withoutFormula(name), error.code, withoutFormula(error.message)]),
      ),
    ],
    'text/csv',
  )

const Report = ({ failures }: { failures: readonly Failure[] }) => (
  <div class="stack">
    <div class="scroll-box">
      <Table
        caption="Devices where it failed"
        columns={[
          { name: 'Device', cell: ({ name }) => name },
          { name: 'Why', cell: ({ error }) => error.message },
        ]}
        rows={failures.slice(0, 200)}
        keyOf={({ id }) => id}
      />
    </div>
    <div>
      <Button small icon="download" onClick={() => saveFailures(failures)}>
        Save the list
      </Button>
    </div>
  </div>
)

const Progress = ({ run }: { run: BulkRun<unknown> }) => {
  const [done, failed, total] = [run.done.value, run.failures.value.length, run.targets.length]
  const state = run.finished.value
    ? 'Done'
    : run.waiting.value
      ? 'Waiting: the server takes no more calls now'
      : 'Working'
  return (
    <div class="stack">
      <progress class="progress" value={done} max={total} aria-label="Progress" />
      <p role="status">
        {state}: {(done - failed).toLocaleString()} of {total.toLocaleString()}
        {failed > 0 && <span class="error-text"> · {failed.toLocaleString()} failed</span>}
      </p>
      {failed > 0 && <Report failures={run.failures.value} />}
    </div>
  )
}

interface FormProps {
  action: BulkAction
  choices: Choices
  onChange: (choices: Choices) => void
}

const Form = ({ action, choices, onChange }: FormProps) => (
  <>
    {action === 'status' && (
      <Select
        label="Status"
        value={choices.status}
        onInput={(status) => onChange({ ...choices, status: status as Status })}
        options={statuses.map((status) => [status, status])}
        hint={choices.status === 'inactive' ? 'They are cut off at once.' : undefined}
      />
    )}
    {action === 'rotate' && (
      <Select
        label="The old keys stay valid"
        value={String(choices.graceS)}
        onInput={(grace) => onChange({ ...choices, graceS: Number(grace) })}
        options={graces}
      />
    )}
    {action === 'delete' && (
      <Checkbox
        label="Delete their telemetry, too"
        checked={choices.withTelemetry}
        onChange={(withTelemetry) => onChange({ ...choices, withTelemetry })}
      />
    )}
  </>
)

interface BulkDialogProps {
  action: BulkAction
  targets: readonly Target[]
  /** @param changed whether any call was made. */
  onClose: (changed: boolean) => void
}

const keysOf = (run: BulkRun<unknown>): DeviceKey[] =>
  run.values.map(({ id, name, value }) => ({ id, name, api_key: (value as RotatedKey).api_key }))

export const BulkDialog = ({ action, targets, onClose }: BulkDialogProps) => {
  const { title, button, danger, warning } = texts[action]
  const [choices, setChoices] = useState<Choices>({
    status: 'maintenance',
    graceS: 86_400,
    withTelemetry: false,
  })
  const [typed, setTyped] = useState('')
  const [run, setRun] = useState<BulkRun<unknown>>()
  const [saved, setSaved] = useState(false)
  const keys = useMemo(() => (run && action === 'rotate' ? () => keysOf(run) : () => []), [run, action])
  const finished = run?.finished.value ?? false
  const count = String(targets.length)

  const start = () => {
    const begun = new BulkRun<unknown>(targets, callFor(action, choices))
    setRun(begun)
    void begun.start()
  }
  const close = async () => {
    if (run !== undefined && !finished) return run.stop()
    const question = {
      title: 'Close without the keys?',
      text: 'Nobody can show these keys again.',
      action: 'Close without the keys',
      danger: true,
    }
    if (saved || keys().length === 0 || (await confirm(question))) onClose(run !== undefined)
  }

  return (
    <Dialog
      title={`${title}: ${devicesCount(targets.length)}`}
      onClose={() => void close()}
      actions={
        <>
          <Button onClick={() => void close()}>
            {run === undefined ? 'Cancel' : finished ? 'Close' : 'Stop'}
          </Button>
          {run === undefined && (
            <Button
              kind={danger ? 'danger' : 'primary'}
              disabled={danger && typed.trim() !== count}
              onClick={start}
            >
              {`${button}: ${devicesCount(targets.length)}`}
            </Button>
          )}
        </>
      }
    >
      <div class="stack">
        {run === undefined ? (
          <>
            {warning && <p>{warning}</p>}
            <Form action={action} choices={choices} onChange={setChoices} />
            {danger && (
              <Field label={`Type ${count} to go on`} value={typed} onInput={setTyped} autocomplete="off" />
            )}
          </>
        ) : (
          <>
            <Progress run={run} />
            {finished && keys().length > 0 && <NewKeys keys={keys()} onSaved={() => setSaved(true)} />}
          </>
        )}
      </div>
    </Dialog>
  )
}
