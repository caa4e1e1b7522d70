/** What an operator does with a device: edit it, set its status, delete it. */
import { useState } from 'preact/hooks'
import { type ApiError, put } from '../../api.ts'
import { navigate } from '../../router.ts'
import { Button } from '../../ui/button.tsx'
import { Dialog } from '../../ui/dialog.tsx'
import { Checkbox, errorAt, Field, Select } from '../../ui/field.tsx'
import { ErrorNotice } from '../../ui/states.tsx'
import { toast } from '../../ui/toast.tsx'
import { type DeviceDetails, type Status, statuses } from '../devices/answers.ts'
import { deleteDevice, setStatus } from '../devices/calls.ts'
import { areLabelsRight, bodyOf, DeviceFields, textsOf } from '../devices/device-form.tsx'

type Device = DeviceDetails['device']

interface DialogProps {
  device: Device
  onClose: () => void
  onChanged: () => void
}

const EditDevice = ({ device, onClose, onChanged }: DialogProps) => {
  const [texts, setTexts] = useState(textsOf(device))
  const [offlineAfter, setOfflineAfter] = useState(String(device.offline_after_s))
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<ApiError>()
  const save = async () => {
    const isOwn = offlineAfter !== String(device.offline_after_s)
    setBusy(true)
    const answer = await put<unknown>(`admin/devices/${device.id}`, {
      ...bodyOf(texts, device.labels),
      ...(isOwn ? { offline_after_s: offlineAfter.trim() === '' ? null : Number(offlineAfter) } : {}),
    })
    setBusy(false)
    if (!answer.ok) return setError(answer.error)
    toast('Saved.')
    onChanged()
    onClose()
  }
  return (
    <Dialog title={`Edit ${device.name}`} onClose={onClose}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault()
          void save()
        }}
      >
        {error && <ErrorNotice error={error} />}
        <DeviceFields texts={texts} onChange={setTexts} error={error} />
        <Field
          label="Offline after"
          type="number"
          value={offlineAfter}
          onInput={setOfflineAfter}
          hint="Seconds of silence. Empty takes the default."
          error={errorAt(error, 'offline_after_s')}
        />
        <div class="actions end">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" busy={busy} disabled={!areLabelsRight(texts)}>
            Save
          </Button>
        </div>
      </form>
    </Dialog>
  )
}

const consequences: Readonly<Record<Status, string>> = {
  active: 'It may connect, send and receive.',
  maintenance: 'It may still send and read its configuration; nothing is alerted for it.',
  inactive: 'It is cut off at once and may do nothing until it is active again.',
}

const ChangeStatus = ({ device, onClose, onChanged }: DialogProps) => {
  const [status, choose] = useState<Status>(device.status)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<ApiError>()
  const save = async () => {
    setBusy(true)
    const answer = await setStatus(device.id, status)
    setBusy(false)
    if (!answer.ok) return setError(answer.error)
    toast(`${device.name} is ${status}.`)
    onChanged()
    onClose()
  }
  return (
    <Dialog
      title={`Status of ${device.name}`}
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            kind={status === 'inactive' ? 'danger' : 'primary'}
            busy={busy}
            disabled={status === device.status}
            onClick={() => void save()}
          >
            {`Make it ${status}`}
          </Button>
        </>
      }
    >
      {error && <ErrorNotice error={error} />}
      <Select
        label="Status"
        value={status}
        onInput={(value) => choose(value as Status)}
        options={statuses.map((name) => [name, name])}
        hint={consequences[status]}
      />
    </Dialog>
  )
}

const DeleteDevice = ({ device, onClose }: DialogProps) => {
  const [withTelemetry, setWithTelemetry] = useState(false)
  const [typed, setTyped] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<ApiError>()
  const remove = async () => {
    setBusy(true)
    const answer = await deleteDevice(device.id, withTelemetry)
    setBusy(false)
    if (!answer.ok) return setError(answer.error)
    const goesOn = answer.value.deletion_id === undefined ? '' : ' Its readings are being deleted.'
    toast(`${device.name} is deleted.${goesOn}`)
    navigate('/devices')
  }
  return (
    <Dialog
      title={`Delete ${device.name}?`}
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            kind="danger"
            icon="trash"
            busy={busy}
            disabled={typed.trim() !== device.name}
            onClick={() => void remove()}
          >
            Delete
          </Button>
        </>
      }
    >
      <div class="stack">
        {error && <ErrorNotice error={error} />}
        <p>Its keys, configuration, commands and events go with it. This cannot be undone.</p>
        <Checkbox
          label={`Delete its ${device.telemetry_count.toLocaleString()} readings, too`}
          checked={withTelemetry}
          onChange={setWithTelemetry}
        />
        <Field label={`Type ${device.name} to go on`} value={typed} onInput={setTyped} autocomplete="off" />
      </div>
    </Dialog>
  )
}

const dialogs = { edit: EditDevice, status: ChangeStatus, delete: DeleteDevice } as const

export const DeviceActions = ({ device, onChanged }: { device: Device; onChanged: () => void }) => {
  const [opened, open] = useState<keyof typeof dialogs>()
  const Opened = opened && dialogs[opened]
  return (
    <>
      <Button icon="edit" onClick={() => open('edit')}>
        Edit
      </Button>
      <Button onClick={() => open('status')}>Status</Button>
      <Button icon="trash" onClick={() => open('delete')}>
        Delete
      </Button>
      {Opened && <Opened device={device} onClose={() => open(undefined)} onChanged={onChanged} />}
    </>
  )
}
