/** The configuration: what it should be, to be edited, and the version that the device says it runs. */
import { useState } from 'preact/hooks'
import { type ApiError, get, put } from '../../api.ts'
import { useResource } from '../../resource.ts'
import { Button } from '../../ui/button.tsx'
import { Field, Select } from '../../ui/field.tsx'
import { Card } from '../../ui/layout.tsx'
import { ErrorNotice, Loading } from '../../ui/states.tsx'
import { Badge } from '../../ui/status.tsx'
import { Time } from '../../ui/time.tsx'
import { toast } from '../../ui/toast.tsx'
import type { Configuration, ConfiguredAnswer } from './answers.ts'
import {
  type Draft,
  draftOf,
  keyPattern,
  parseDraft,
  retyped,
  type ValueType,
  valueTypes,
} from './config-values.ts'

/** What is edited and not saved, by key; null deletes the key. */
type Drafts = ReadonlyMap<string, Draft | null>

const Reported = ({ configuration }: { configuration: Configuration }) => {
  const { version, reported_version: reported, reported_at: at } = configuration
  if (version === 0) return <p class="muted">No configuration yet.</p>
  const inStep = reported === version
  return (
    <p class="config-state">
      <Badge tone={inStep ? 'good' : 'warn'}>{inStep ? 'in step' : 'not taken yet'}</Badge>
      <span>
        Desired version <strong>{version}</strong>,{' '}
        {reported === null ? (
          'the device has not reported one'
        ) : (
          <>
            the device runs version <strong>{reported}</strong>
          </>
        )}
        {at !== null && (
          <span class="muted">
            {' '}
            (<Time time={at} />)
          </span>
        )}
      </span>
    </p>
  )
}

interface EntryProps {
  name: string
  draft: Draft
  changed: boolean
  onChange: (draft: Draft) => void
  onDelete: () => void
}

const Entry = ({ name, draft, changed, onChange, onDelete }: EntryProps) => {
  const parsed = parseDraft(draft)
  return (
    <li class={changed ? 'changed' : undefined}>
      <code>{name}</code>
      <Select
        label={`Type of ${name}`}
        hideLabel
        value={draft.type}
        onInput={(type) => onChange(retyped(draft, type as ValueType))}
        options={valueTypes.map((type) => [type, type])}
      />
      {draft.type === 'yes/no' ? (
        <Select
          label={`Value of ${name}`}
          hideLabel
          value={draft.text}
          onInput={(text) => onChange({ ...draft, text })}
          options={[
            ['true', 'yes'],
            ['false', 'no'],
          ]}
        />
      ) : (
        <Field
          label={`Value of ${name}`}
          hideLabel
          mono
          value={draft.text}
          onInput={(text) => onChange({ ...draft, text })}
          autocomplete="off"
          error={parsed.ok ? undefined : parsed.message}
        />
      )}
      <Button small kind="quiet" icon="trash" label={`Delete ${name}`} onClick={onDelete} />
    </li>
  )
}

const NewKey = ({ taken, onAdd }: { taken: ReadonlySet<string>; onAdd: (key: string) => void }) => {
  const [key, setKey] = useState('')
  const problem =
    key === '' || (keyPattern.test(key) && !taken.has(key))
      ? undefined
      : taken.has(key)
        ? 'is there already'
        : 'must have 1 to 128 letters, digits, _ . - or :'
  return (
    <form
      class="config-new"
      onSubmit={(event) => {
        event.preventDefault()
        if (key === '' || problem !== undefined) return
        onAdd(key)
        setKey('')
      }}
    >
      <Field
        label="New key"
        hideLabel
        placeholder="New key"
        mono
        value={key}
        onInput={setKey}
        error={problem}
        autocomplete="off"
      />
      <Button type="submit" icon="plus" disabled={key === '' || problem !== undefined}>
        Add
      </Button>
    </form>
  )
}

const changesText = (count: number) => (count === 1 ? 'Save 1 change' : `Save ${count} changes`)

const StaleNotice = ({ version }: { version: number }) => (
  <div class="notice warn" role="alert">
    <p>
      Somebody else has changed this configuration: it has version {version} now. Your changes are not saved,
      and are kept below on top of the newest values. Look at them before you save.
    </p>
  </div>
)

/** The entries as they would be after the drafts, in the order of their names. */
const entriesAfter = ({ configuration }: Configuration, drafts: Drafts): [string, Draft][] => {
  const entries = new Map(Object.entries(configuration).map(([key, { value }]) => [key, draftOf(value)]))
  for (const [key, draft] of drafts) {
    if (draft === null) entries.delete(key)
    else entries.set(key, draft)
  }
  return [...entries].sort(([a], [b]) => (a < b ? -1 : 1))
}

const changesOf = (drafts: Drafts): Record<string, unknown> =>
  Object.fromEntries(
    [...drafts].map(([key, draft]) => {
      const parsed = draft === null ? undefined : parseDraft(draft)
      return [key, parsed?.ok ? parsed.value : null]
    }),
  )

interface EditorProps {
  deviceId: number
  configuration: Configuration
  onReload: () => void
}

const Editor = ({ deviceId, configuration, onReload }: EditorProps) => {
  const [drafts, setDrafts] = useState<Drafts>(new Map())
  /** The version that the reader began to edit, or has agreed to save on top of. */
  const [base, setBase] = useState(configuration.version)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<ApiError>()
  const entries = entriesAfter(configuration, drafts)
  const isWrong = [...drafts.values()].some((draft) => draft !== null && !parseDraft(draft).ok)
  const isStale = drafts.size > 0 && base !== configuration.version
  const set = (key: string, draft: Draft | null) => {
    if (drafts.size === 0) setBase(configuration.version)
    setDrafts(new Map(drafts).set(key, draft))
  }
  const clear = () => {
    setDrafts(new Map())
    setError(undefined)
  }
  const save = async () => {
    setBusy(true)
    const answer = await put<ConfiguredAnswer>(
      `admin/devices/${deviceId}/config`,
      { configuration: changesOf(drafts) },
      { headers: { 'If-Match': `"${isStale ? configuration.version : base}"` } },
    )
    setBusy(false)
    // A newer version comes with the next answer, and shows the notice.
    const isNewer = !answer.ok && answer.error.status === 412
    setError(answer.ok || isNewer ? undefined : answer.error)
    if (answer.ok) {
      clear()
      const saved = `Saved as version ${answer.value.version}`
      toast(answer.value.published ? `${saved} and sent.` : `${saved}; the broker could not take it yet.`)
    }
    if (answer.ok || isNewer) onReload()
  }
  return (
    <div class="stack">
      <Reported configuration={configuration} />
      {isStale && <StaleNotice version={configuration.version} />}
      {error && <ErrorNotice error={error} />}
      <ul class="config">
        {entries.map(([key, draft]) => (
          <Entry
            key={key}
            name={key}
            draft={draft}
            changed={drafts.has(key)}
            onChange={(changed) => set(key, changed)}
            onDelete={() => set(key, null)}
          />
        ))}
      </ul>
      <NewKey
        taken={new Set(entries.map(([key]) => key))}
        onAdd={(key) => set(key, { type: 'text', text: '' })}
      />
      {drafts.size > 0 && (
        <div class="actions end">
          <Button onClick={clear}>Discard</Button>
          <Button kind="primary" busy={busy} disabled={isWrong} onClick={() => void save()}>
            {isStale ? `Save on top of version ${configuration.version}` : changesText(drafts.size)}
          </Button>
        </div>
      )}
    </div>
  )
}

/** @param turn raised when the configuration may have changed. */
export const ConfigCard = ({ deviceId, turn }: { deviceId: number; turn: number }) => {
  const path = `admin/devices/${deviceId}/config`
  const [asked, setAsked] = useState(0)
  const resource = useResource(path, (signal) => get<Configuration>(path, undefined, { signal }))
  if (asked !== turn) {
    setAsked(turn)
    resource.reload()
  }
  return (
    <Card title="Configuration">
      {resource.error && <ErrorNotice error={resource.error} onRetry={resource.reload} />}
      {resource.value === undefined && resource.error === undefined && <Loading />}
      {resource.value && (
        <Editor deviceId={deviceId} configuration={resource.value} onReload={resource.reload} />
      )}
    </Card>
  )
}
