/** Settings: what is in effect, where each came from, and what it means. Secrets never leave the server. */
import { useState } from 'preact/hooks'
import type { Setting } from '../answers.ts'
import { get } from '../api.ts'
import { useResource } from '../resource.ts'
import { Checkbox, Field } from '../ui/field.tsx'
import { PageHead } from '../ui/layout.tsx'
import { EmptyState, ErrorNotice, Loading } from '../ui/states.tsx'
import { Badge, type Tone } from '../ui/status.tsx'
import { type Column, Table } from '../ui/table.tsx'
import { SettingsNav } from './webhooks/sub-nav.tsx'

const sources: Readonly<Record<Setting['source'], { text: string; tone: Tone }>> = {
  default: { text: 'default', tone: 'neutral' },
  environment: { text: 'environment', tone: 'accent' },
  file: { text: '.env', tone: 'accent' },
  generated: { text: 'generated', tone: 'good' },
}

const Value = ({ setting: { value, secret, source } }: { setting: Setting }) => {
  if (secret) return <span class="muted nowrap">{source === 'default' ? 'not set' : 'set, hidden'}</span>
  if (value === null || value === '') return <span class="muted nowrap">not set</span>
  return <code>{String(value)}</code>
}

const columns: readonly Column<Setting>[] = [
  { name: 'Name', cell: ({ name }) => <code class="setting-name">{name}</code> },
  { name: 'Value', cell: (setting) => <Value setting={setting} /> },
  {
    name: 'From',
    cell: ({ source }) => (
      <Badge tone={sources[source]?.tone ?? 'neutral'}>{sources[source]?.text ?? source}</Badge>
    ),
  },
  { name: 'Meaning', text: true, cell: ({ meaning }) => <span class="meaning">{meaning}</span> },
]

const fits = ({ name, meaning, source }: Setting, words: string, changedOnly: boolean) =>
  (!changedOnly || source !== 'default') &&
  `${name} ${meaning}`.toLowerCase().includes(words.trim().toLowerCase())

export const SettingsPage = () => {
  const [words, setWords] = useState('')
  const [changedOnly, setChangedOnly] = useState(false)
  const settings = useResource('settings', (signal) =>
    get<{ settings: readonly Setting[] }>('admin/settings', undefined, { signal }),
  )
  const found = settings.value?.settings.filter((setting) => fits(setting, words, changedOnly)) ?? []
  return (
    <>
      <PageHead
        title="Settings"
        lead="As the server uses them. They are set in its environment or in .env, and read at its start."
      />
      <SettingsNav />
      {settings.error && <ErrorNotice error={settings.error} onRetry={settings.reload} />}
      {settings.value === undefined && settings.error === undefined && <Loading lines={8} />}
      {settings.value && (
        <>
          <div class="filters">
            <Field
              label="Search"
              type="search"
              value={words}
              onInput={setWords}
              placeholder="Name or meaning"
            />
            <Checkbox label="Only those that are set" checked={changedOnly} onChange={setChangedOnly} />
          </div>
          {found.length > 0 ? (
            <Table caption="Settings" columns={columns} rows={found} keyOf={({ name }) => name} />
          ) : (
            <EmptyState icon="search" title="No setting fits" />
          )}
        </>
      )}
    </>
  )
}
