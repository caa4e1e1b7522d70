/** The dialog that imports a file of devices: a check first, then the import, then the keys. */
import { useState } from 'preact/hooks'
import { Button } from '../../ui/button.tsx'
import { confirm, Dialog } from '../../ui/dialog.tsx'
import { Checkbox } from '../../ui/field.tsx'
import { ErrorNotice } from '../../ui/states.tsx'
import { Table } from '../../ui/table.tsx'
import { formatOf, type ImportOutcome, runImport } from './import-run.ts'
import { NewKeys } from './keys.tsx'

/** Refused rows that are listed; the count tells of the others. */
const mostErrors = 200

const sentenceOf = ({ created, updated, errors }: ImportOutcome, dryRun: boolean) => {
  const did = dryRun ? 'would be' : 'were'
  const counts = [
    `${created.toLocaleString()} ${did} registered`,
    `${updated.toLocaleString()} ${did} changed`,
  ]
  return `${counts.join(', ')}, ${errors.length.toLocaleString()} refused.`
}

const Outcome = ({ outcome, dryRun }: { outcome: ImportOutcome; dryRun: boolean }) => (
  <>
    <p role="status">{sentenceOf(outcome, dryRun)}</p>
    {outcome.failed && <ErrorNotice error={outcome.failed} />}
    {outcome.errors.length > 0 && (
      <div class="scroll-box">
        <Table
          caption="Rows that were refused"
          columns={[
            { name: 'Row', cell: ({ row }) => row, number: true },
            { name: 'Name', cell: ({ name }) => name ?? '–' },
            { name: 'Why', cell: ({ reason }) => reason },
          ]}
          rows={outcome.errors.slice(0, mostErrors)}
          keyOf={({ row }) => row}
        />
      </div>
    )}
  </>
)

interface Chosen {
  readonly name: string
  readonly text: string
}

export const ImportDevices = ({ onClose, onImported }: { onClose: () => void; onImported: () => void }) => {
  const [file, setFile] = useState<Chosen>()
  const [upsert, setUpsert] = useState(false)
  const [checked, setChecked] = useState<ImportOutcome>()
  const [done, setDone] = useState<ImportOutcome>()
  const [busy, setBusy] = useState(false)
  const [saved, setSaved] = useState(false)

  const run = async (dryRun: boolean) => {
    if (file === undefined) return
    const show = dryRun ? setChecked : setDone
    setBusy(true)
    show(await runImport(file.text, { format: formatOf(file.name), upsert, dryRun }, show))
    setBusy(false)
    if (!dryRun) onImported()
  }
  const close = async () => {
    if (busy) return
    const unsaved = done !== undefined && done.keys.length > 0 && !saved
    const question = {
      title: 'Close without the keys?',
      text: 'Nobody can show these keys again: each device would need a new one.',
      action: 'Close without the keys',
      danger: true,
    }
    if (!unsaved || (await confirm(question))) onClose()
  }
  const acceptable = checked === undefined ? 0 : checked.created + checked.updated

  return (
    <Dialog
      title="Import devices"
      wide
      onClose={() => void close()}
      actions={
        <>
          <Button onClick={() => void close()}>{done === undefined ? 'Cancel' : 'Close'}</Button>
          {done === undefined && checked === undefined && (
            <Button kind="primary" disabled={file === undefined} busy={busy} onClick={() => void run(true)}>
              Check the file
            </Button>
          )}
          {done === undefined && checked !== undefined && (
            <Button kind="primary" disabled={acceptable === 0} busy={busy} onClick={() => void run(false)}>
              {`Import ${acceptable.toLocaleString()}`}
            </Button>
          )}
        </>
      }
    >
      <div class="stack">
        {done === undefined && (
          <>
            <label class="file-field">
              <span>CSV with a header, or NDJSON</span>
              <input
                type="file"
                accept=".csv,.ndjson,.jsonl,text/csv,application/x-ndjson"
                onChange={async (event) => {
                  const [chosen] = event.currentTarget.files ?? []
                  setChecked(undefined)
                  setFile(chosen && { name: chosen.name, text: await chosen.text() })
                }}
              />
            </label>
            <p class="hint">
              Columns: <code>name, device_type</code>, and as you like{' '}
              <code>
                location, description, timezone, firmware_version, hardware_version, status, offline_after_s
              </code>
              .
            </p>
            <Checkbox
              label="Change devices whose name exists"
              checked={upsert}
              onChange={(on) => {
                setUpsert(on)
                setChecked(undefined)
              }}
            />
          </>
        )}
        {checked && done === undefined && <Outcome outcome={checked} dryRun />}
        {done && <Outcome outcome={done} dryRun={false} />}
        {done && !busy && done.keys.length > 0 && <NewKeys keys={done.keys} onSaved={() => setSaved(true)} />}
      </div>
    </Dialog>
  )
}
