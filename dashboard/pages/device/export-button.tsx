/** The button that saves the readings of the range as CSV. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Span } from '../../charts/range.ts'
import { saveFile } from '../../save-file.ts'
import { Button } from '../../ui/button.tsx'
import { Dialog } from '../../ui/dialog.tsx'
import { toast } from '../../ui/toast.tsx'
import { exportReadings } from './export-run.ts'

const fileName = (name: string, { from, to }: Span) => {
  const day = (ms: number) => new Date(ms).toISOString().slice(0, 10)
  return `${name.replace(/[^\p{L}\p{N}_-]+/gu, '-')}_${day(from)}_${day(to)}.csv`
}

interface ExportButtonProps {
  device: { readonly id: number; readonly name: string }
  fields: readonly string[]
  span: () => Span
}

export const ExportButton = ({ device, fields, span }: ExportButtonProps) => {
  const [readings, setReadings] = useState<number>()
  const abort = useRef<AbortController | undefined>(undefined)
  useEffect(() => () => abort.current?.abort(), [])
  const run = async () => {
    const running = new AbortController()
    abort.current = running
    setReadings(0)
    const range = span()
    const {
      parts,
      readings: found,
      error,
    } = await exportReadings(device.id, fields, range, running.signal, setReadings)
    setReadings(undefined)
    if (running.signal.aborted) return
    if (error !== undefined) return toast(`Nothing was saved: ${error.message}`, 'bad')
    saveFile(fileName(device.name, range), parts, 'text/csv')
    toast(`Saved ${found.toLocaleString()} readings.`)
  }
  return (
    <>
      <Button small icon="download" onClick={() => void run()}>
        Export CSV
      </Button>
      {readings !== undefined && (
        <Dialog
          title="Export"
          onClose={() => abort.current?.abort()}
          actions={<Button onClick={() => abort.current?.abort()}>Cancel</Button>}
        >
          <p role="status">{readings.toLocaleString()} readings so far</p>
        </Dialog>
      )}
    </>
  )
}
