/** Acknowledges one or many alerts with a note: somebody has seen them and takes care. */
import { useState } from 'preact/hooks'
import { count } from '../../format.ts'
import { Button } from '../../ui/button.tsx'
import { Dialog } from '../../ui/dialog.tsx'
import { Field } from '../../ui/field.tsx'
import { toast } from '../../ui/toast.tsx'
import { BulkRun, type Target } from '../devices/bulk-run.ts'
import { acknowledge } from './calls.ts'

export const alertsWord = (number: number) => `${count(number)} ${number === 1 ? 'alert' : 'alerts'}`

interface AcknowledgeProps {
  targets: readonly Target[]
  onClose: () => void
  onDone: () => void
}

export const AcknowledgeDialog = ({ targets, onClose, onDone }: AcknowledgeProps) => {
  const [note, setNote] = useState('')
  const [busy, setBusy] = useState(false)
  const what = targets.length === 1 ? (targets[0]?.name ?? '') : alertsWord(targets.length)
  const act = async () => {
    setBusy(true)
    const run = new BulkRun(targets, ({ id }) => acknowledge(id, note))
    await run.start()
    const failures = run.failures.value
    const done = targets.length - failures.length
    if (done > 0) toast(`Acknowledged ${alertsWord(done)}.`)
    if (failures[0]) toast(`${alertsWord(failures.length)} could not be: ${failures[0].error.message}`, 'bad')
    onDone()
    onClose()
  }
  return (
    <Dialog title={`Acknowledge ${what}`} onClose={onClose}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault()
          void act()
        }}
      >
        <p>It stays open until its condition ends, but no longer asks for somebody to look.</p>
        <Field
          label="Note"
          value={note}
          onInput={setNote}
          rows={3}
          maxLength={2000}
          autofocus
          hint="What is being done, for those who look later. It may be empty."
        />
        <div class="actions end">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" icon="check" type="submit" busy={busy}>
            Acknowledge
          </Button>
        </div>
      </form>
    </Dialog>
  )
}
