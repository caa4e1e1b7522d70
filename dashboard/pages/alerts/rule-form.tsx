/** The dialog that makes or edits a rule, and says in one sentence what the rule does. */
import { useId, useState } from 'preact/hooks'
import { type ApiError, post, put } from '../../api.ts'
import { live } from '../../live.ts'
import { Button } from '../../ui/button.tsx'
import { Dialog } from '../../ui/dialog.tsx'
import { errorAt, Field, Select } from '../../ui/field.tsx'
import { Icon } from '../../ui/icon.tsx'
import { RadioList } from '../../ui/radio-list.tsx'
import { ErrorNotice } from '../../ui/states.tsx'
import { Badge } from '../../ui/status.tsx'
import { toast } from '../../ui/toast.tsx'
import { type AlertRule, type Operator, type Severity, severities } from './answers.ts'
import { DurationField } from './duration-field.tsx'
import { draftOf, isOrder, type Kind, type RuleDraft, ruleOf } from './rule-draft.ts'
import { clearText, ruleSentence, signOf, toneOfSeverity } from './words.ts'

const kinds = [
  {
    value: 'threshold',
    title: 'A value',
    text: 'A field of the readings is above, below or equal to a value.',
  },
  {
    value: 'no_data',
    title: 'No readings',
    text: 'A device has sent no reading for some time, whether it is connected or not.',
  },
  {
    value: 'offline',
    title: 'Offline',
    text: 'A device has lost its connection, or has been silent for longer than it may.',
  },
  {
    value: 'warnings',
    title: 'Warnings',
    text: 'A device sends readings of which parts are left out or changed, such as a wrong clock.',
  },
  {
    value: 'dead_letters',
    title: 'Dead letters',
    text: 'A device sends messages that cannot be stored at all.',
  },
] as const satisfies readonly { value: Kind; title: string; text: string }[]

const operators: readonly Operator[] = ['>', '>=', '<', '<=', '==', '!=']
const nameOfOperator: Readonly<Record<Operator, string>> = {
  '>': 'above',
  '>=': 'at or above',
  '<': 'below',
  '<=': 'at or below',
  '==': 'equal to',
  '!=': 'not equal to',
}

interface PartProps {
  draft: RuleDraft
  onChange: (changes: Partial<RuleDraft>) => void
  error: ApiError | undefined
}

const Clearing = ({ draft, onChange, error }: PartProps) => (
  <details class="more" open={draft.clearValue !== '' || draft.clearDuration.number !== ''}>
    <summary>When it clears</summary>
    <p class="hint">
      If nothing is given, as soon as a reading does not fit the condition. A value a little apart, or a time,
      keeps a reading that swings around the limit from opening one alert after the other.
    </p>
    <div class="form-row">
      {isOrder(draft.op) && (
        <Field
          label={draft.op.startsWith('>') ? 'Clears at or below' : 'Clears at or above'}
          type="number"
          value={draft.clearValue}
          onInput={(clearValue) => onChange({ clearValue })}
          hint="Empty: at the value above."
          error={errorAt(error, 'clear_value')}
        />
      )}
      <DurationField
        label="After it stays so for"
        value={draft.clearDuration}
        onInput={(clearDuration) => onChange({ clearDuration })}
        hint="Empty: at once."
        error={errorAt(error, 'clear_for')}
      />
    </div>
  </details>
)

const Threshold = (props: PartProps) => {
  const { draft, onChange, error } = props
  return (
    <>
      <div class="form-row">
        <Field
          label="Field"
          value={draft.field}
          onInput={(field) => onChange({ field })}
          placeholder="temperature"
          autocomplete="off"
          required
          error={errorAt(error, 'field')}
        />
        <Select
          label="Is"
          value={draft.op}
          onInput={(op) => onChange({ op: op as Operator })}
          options={operators.map((op) => [op, `${signOf(op)}  ${nameOfOperator[op]}`] as const)}
          error={errorAt(error, 'op')}
        />
        <Field
          label="Value"
          value={draft.value}
          onInput={(value) => onChange({ value })}
          placeholder="30"
          autocomplete="off"
          required
          hint={isOrder(draft.op) ? undefined : 'A number, true, false, or a text.'}
          error={errorAt(error, 'value')}
        />
      </div>
      <DurationField
        label="For at least"
        value={draft.duration}
        onInput={(duration) => onChange({ duration })}
        hint="0 or empty: one reading is enough."
        error={errorAt(error, 'for')}
      />
      <Clearing {...props} />
    </>
  )
}

const Counted = ({ draft, onChange, error }: PartProps) => (
  <div class="form-row">
    <Field
      label="At least"
      type="number"
      value={draft.count}
      onInput={(count) => onChange({ count })}
      required
      hint={draft.kind === 'warnings' ? 'Warnings of one device.' : 'Dead letters of one device.'}
      error={errorAt(error, 'count')}
    />
    <DurationField
      label="Within"
      value={draft.duration}
      onInput={(duration) => onChange({ duration })}
      required
      error={errorAt(error, 'within')}
    />
  </div>
)

const ConditionFields = (props: PartProps) => {
  const { draft, onChange, error } = props
  if (draft.kind === 'threshold') return <Threshold {...props} />
  if (draft.kind === 'warnings' || draft.kind === 'dead_letters') return <Counted {...props} />
  const isOffline = draft.kind === 'offline'
  return (
    <DurationField
      label="For at least"
      value={draft.duration}
      onInput={(duration) => onChange({ duration })}
      required={!isOffline}
      hint={isOffline ? '0 or empty: as soon as it is offline.' : undefined}
      error={errorAt(error, 'for')}
    />
  )
}

const typeOptions = (chosen: string): readonly (readonly [string, string])[] => {
  const known = Object.keys(live.overview.value?.devices.by_type ?? {})
  const all = chosen === '' || known.includes(chosen) ? known : [...known, chosen]
  return [['', 'Every type'], ...all.map((type) => [type, type] as const)]
}

const TargetFields = ({ draft, onChange, error }: PartProps) => (
  <fieldset class="form-part">
    <legend>On which devices</legend>
    <p class="hint">Each device has its own alert. Where nothing is chosen, the rule is for every device.</p>
    <div class="form-row">
      <Select
        label="Type"
        value={draft.deviceType}
        onInput={(deviceType) => onChange({ deviceType })}
        options={typeOptions(draft.deviceType)}
        error={errorAt(error, 'device_type')}
      />
      <Field
        label="Labels"
        value={draft.selector}
        onInput={(selector) => onChange({ selector })}
        placeholder="site=north, floor!=2"
        autocomplete="off"
        error={errorAt(error, 'selector')}
      />
      <Field
        label="Device id"
        value={draft.deviceId}
        onInput={(deviceId) => onChange({ deviceId })}
        placeholder="Any"
        autocomplete="off"
        error={/^\s*\d{0,15}\s*$/.test(draft.deviceId) ? errorAt(error, 'device_id') : 'An id is a number.'}
      />
    </div>
  </fieldset>
)

/** What the rule does, as long as the form has enough to say it. */
const Preview = ({ id, draft }: { id: string; draft: RuleDraft }) => {
  const rule = ruleOf(draft)
  const over = rule && clearText(rule.condition)
  return (
    // Not announced at each letter: it belongs to the button, which screen readers reach after the fields.
    <section class="rule-preview" id={id} aria-label="The rule in words">
      <Badge tone={toneOfSeverity[draft.severity]}>{draft.severity}</Badge>
      <p>
        {rule === undefined ? (
          <span class="muted">Fill in the fields: the rule is put in words here.</span>
        ) : (
          <>
            <strong>{ruleSentence(rule)}</strong>
            {over !== undefined && `, until ${over}`}
          </>
        )}
      </p>
    </section>
  )
}

interface RuleDialogProps {
  /** Undefined makes a new one. */
  rule: AlertRule | undefined
  /** The device that a new one is for. */
  deviceId?: string
  onClose: () => void
  onSaved: () => void
}

export const RuleDialog = ({ rule, deviceId = '', onClose, onSaved }: RuleDialogProps) => {
  const [draft, setDraft] = useState<RuleDraft>(() => ({
    ...draftOf(rule),
    ...(rule === undefined ? { deviceId } : {}),
  }))
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<ApiError>()
  const onChange = (changes: Partial<RuleDraft>) => setDraft((before) => ({ ...before, ...changes }))
  const previewId = useId()
  const body = ruleOf(draft)
  const save = async () => {
    if (body === undefined) return
    setBusy(true)
    const answer =
      rule === undefined
        ? await post<unknown>('admin/alert-rules', body)
        : await put<unknown>(`admin/alert-rules/${rule.id}`, body)
    setBusy(false)
    if (!answer.ok) return setError(answer.error)
    toast(rule === undefined ? `The rule ${body.name} is on watch.` : 'Saved.')
    onSaved()
    onClose()
  }
  const part = { draft, onChange, error }
  return (
    <Dialog title={rule === undefined ? 'New rule' : `Edit ${rule.name}`} wide onClose={onClose}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault()
          void save()
        }}
      >
        {error && <ErrorNotice error={error} />}
        <div class="form-row">
          <Field
            label="Name"
            value={draft.name}
            onInput={(name) => onChange({ name })}
            maxLength={128}
            required
            autofocus
            autocomplete="off"
            placeholder="Too warm"
            error={errorAt(error, 'name')}
          />
          <Select
            label="Severity"
            value={draft.severity}
            onInput={(severity) => onChange({ severity: severity as Severity })}
            options={severities.map((severity) => [severity, severity] as const)}
          />
        </div>
        <RadioList
          legend="What it looks at"
          options={kinds}
          value={draft.kind}
          onChange={(kind) => onChange({ kind })}
        />
        <ConditionFields {...part} />
        <TargetFields {...part} />
        {rule !== undefined && rule.open_alerts > 0 && (
          <div class="notice">
            <Icon name="alert" />
            <div>
              <p>A change of what it looks at, or of the devices, ends its open alerts.</p>
            </div>
          </div>
        )}
        <div class="rule-foot">
          <Preview id={previewId} draft={draft} />
          <div class="actions end">
            <Button onClick={onClose}>Cancel</Button>
            <Button kind="primary" type="submit" busy={busy} describedBy={previewId}>
              {rule === undefined ? 'Make the rule' : 'Save'}
            </Button>
          </div>
        </div>
      </form>
    </Dialog>
  )
}
