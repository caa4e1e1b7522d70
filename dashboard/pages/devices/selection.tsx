/** The devices that are selected, on all pages, and what can be done with them. */
import { useState } from 'preact/hooks'
import { get } from '../../api.ts'
import { Button } from '../../ui/button.tsx'
import type { DeviceList } from './answers.ts'
import { type BulkAction, devicesCount } from './bulk.tsx'
import type { Target } from './bulk-run.ts'
import type { Filters } from './filters.tsx'

/** Devices that one action may change. */
const mostSelected = 10_000

/** The devices that pass the filters, all pages of them. @returns undefined when the server does not answer. */
export async function targetsOf(filters: Filters): Promise<Target[] | undefined> {
  const targets: Target[] = []
  let cursor: string | undefined
  do {
    const { sort: _sort, order: _order, ...asked } = filters
    const answer = await get<DeviceList>('admin/devices', { ...asked, limit: 1000, cursor })
    if (!answer.ok) return undefined
    for (const { id, name } of answer.value.devices) targets.push({ id, name })
    cursor = answer.value.next_cursor
  } while (cursor !== undefined && targets.length < mostSelected)
  return targets.slice(0, mostSelected)
}

interface SelectionBarProps {
  selected: ReadonlyMap<number, string>
  total: number
  onAll: () => Promise<void>
  onNone: () => void
  onAction: (action: BulkAction) => void
}

export const SelectionBar = ({ selected, total, onAll, onNone, onAction }: SelectionBarProps) => {
  const [busy, setBusy] = useState(false)
  const all = Math.min(total, mostSelected)
  return (
    <section class="selection-bar" aria-label="Selected devices">
      <strong aria-live="polite">{devicesCount(selected.size)} selected</strong>
      <div class="actions">
        {selected.size < all && (
          <Button
            small
            kind="quiet"
            busy={busy}
            onClick={async () => {
              setBusy(true)
              await onAll()
              setBusy(false)
            }}
          >
            {all === total
              ? `Select all ${all.toLocaleString()}`
              : `Select the first ${all.toLocaleString()}`}
          </Button>
        )}
        <Button small onClick={() => onAction('status')}>
          Set status
        </Button>
        <Button small onClick={() => onAction('rotate')}>
          New keys
        </Button>
        <Button small onClick={() => onAction('revoke')}>
          Revoke keys
        </Button>
        <Button small kind="danger" icon="trash" onClick={() => onAction('delete')}>
          Delete
        </Button>
        <Button small kind="quiet" icon="cross" label="Select none" onClick={onNone} />
      </div>
    </section>
  )
}
