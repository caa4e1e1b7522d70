/** Picks the range of the charts: one of the usual ones, or two times. */
import { useState } from 'preact/hooks'
import type { ChartModel } from '../../charts/model.ts'
import { isMoving, presets, type Range, type Span, writeRange } from '../../charts/range.ts'
import { localTime } from '../../format.ts'
import { Button } from '../../ui/button.tsx'
import { Dialog } from '../../ui/dialog.tsx'
import { Field, Select } from '../../ui/field.tsx'

const own = 'own'

const pad = (part: number) => String(part).padStart(2, '0')

/** A time in the zone of the browser, as a field for times takes it. */
const localText = (ms: number) => {
  const date = new Date(ms)
  const day = [date.getFullYear(), pad(date.getMonth() + 1), pad(date.getDate())].join('-')
  return `${day}T${pad(date.getHours())}:${pad(date.getMinutes())}`
}

const shortText = ({ from, to }: Span) =>
  [from, to].map((at) => localTime(new Date(at).toISOString())).join(' – ')

interface OwnRangeProps {
  span: Span
  onRange: (range: Range) => void
  onClose: () => void
}

const OwnRange = ({ span, onRange, onClose }: OwnRangeProps) => {
  const [texts, setTexts] = useState({ from: localText(span.from), to: localText(span.to) })
  const chosen = { from: Date.parse(texts.from), to: Date.parse(texts.to) }
  const isRight = chosen.from < chosen.to
  return (
    <Dialog title="Another range" onClose={onClose}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault()
          if (!isRight) return
          onRange(chosen)
          onClose()
        }}
      >
        <Field
          label="From"
          type="datetime-local"
          value={texts.from}
          onInput={(from) => setTexts({ ...texts, from })}
          required
          autofocus
        />
        <Field
          label="To"
          type="datetime-local"
          value={texts.to}
          onInput={(to) => setTexts({ ...texts, to })}
          required
          error={isRight ? undefined : 'must be later than the begin'}
        />
        <div class="actions end">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" disabled={!isRight}>
            Show
          </Button>
        </div>
      </form>
    </Dialog>
  )
}

interface RangePickerProps {
  model: ChartModel
  range: Range
  onRange: (range: Range) => void
}

export const RangePicker = ({ model, range, onRange }: RangePickerProps) => {
  const [isOpen, setOpen] = useState(false)
  const value = isMoving(range) ? writeRange(range) : 'shown'
  return (
    <>
      <Select
        label="Range"
        hideLabel
        value={value}
        onInput={(name) => {
          const preset = presets.find((one) => one.name === name)
          if (preset !== undefined) onRange({ lastMs: preset.ms })
          else setOpen(name === own)
        }}
        options={[
          ...(isMoving(range) ? [] : [['shown', shortText(range)] as const]),
          ...presets.map(({ name, label }) => [name, `Last ${label}`] as const),
          [own, 'Another range…'],
        ]}
      />
      {isOpen && <OwnRange span={model.span()} onRange={onRange} onClose={() => setOpen(false)} />}
    </>
  )
}
