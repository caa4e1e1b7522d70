/** Alert rules: what is watched, and where. */
import { useState } from 'preact/hooks'
import { get, type Result } from '../../api.ts'
import { useCursors } from '../../cursors.ts'
import { useEvery } from '../../every.ts'
import { count } from '../../format.ts'
import { live } from '../../live.ts'
import type { PageProps } from '../../pages.ts'
import { useResource } from '../../resource.ts'
import { href, replaceQuery } from '../../router.ts'
import { Button } from '../../ui/button.tsx'
import { confirm } from '../../ui/dialog.tsx'
import { PageHead } from '../../ui/layout.tsx'
import { EmptyState, ErrorNotice, Loading, Pager } from '../../ui/states.tsx'
import { Badge } from '../../ui/status.tsx'
import { type Column, Table } from '../../ui/table.tsx'
import { toast } from '../../ui/toast.tsx'
import { alertsWord } from './acknowledge.tsx'
import { SeverityBadge } from './alert-line.tsx'
import type { AlertRule, RuleList } from './answers.ts'
import { deleteRule, setEnabled } from './calls.ts'
import { RuleDialog } from './rule-form.tsx'
import { AlertsNav } from './sub-nav.tsx'
import { clearText, conditionText, targetText } from './words.ts'

const pageSize = 50
const refreshMs = 10_000

interface RuleActions {
  edit: (rule: AlertRule) => void
  toggle: (rule: AlertRule) => void
  remove: (rule: AlertRule) => void
}

const columnsFor = ({ edit, toggle, remove }: RuleActions): readonly Column<AlertRule>[] => [
  {
    name: 'Rule',
    cell: (rule) => (
      <div>
        <button type="button" class="link alert-name" onClick={() => edit(rule)}>
          {rule.name}
        </button>
        <p class="small muted">
          when {conditionText(rule.condition)}
          {clearText(rule.condition) !== undefined && `, until ${clearText(rule.condition)}`}
        </p>
      </div>
    ),
  },
  { name: 'Severity', cell: (rule) => <SeverityBadge severity={rule.severity} /> },
  { name: 'On', cell: (rule) => targetText(rule.target) },
  {
    name: 'Open',
    number: true,
    cell: ({ id, open_alerts: open }) =>
      open === 0 ? (
        <span class="muted">0</span>
      ) : (
        <a href={href('/alerts', { rule_id: id })}>{count(open)}</a>
      ),
  },
  {
    name: 'State',
    cell: ({ enabled }) => <Badge tone={enabled ? 'good' : 'neutral'}>{enabled ? 'on' : 'off'}</Badge>,
  },
  {
    name: 'Actions',
    text: true,
    cell: (rule) => (
      <span class="row-actions">
        <Button
          small
          label={`${rule.enabled ? 'Turn off' : 'Turn on'} ${rule.name}`}
          onClick={() => toggle(rule)}
        >
          {rule.enabled ? 'Turn off' : 'Turn on'}
        </Button>
        <Button small kind="quiet" icon="edit" label={`Edit ${rule.name}`} onClick={() => edit(rule)} />
        <Button small kind="quiet" icon="trash" label={`Delete ${rule.name}`} onClick={() => remove(rule)} />
      </span>
    ),
  },
]

const agreesToDelete = ({ name, open_alerts: open }: AlertRule) =>
  confirm({
    title: `Delete the rule ${name}?`,
    text: (
      <p>
        {open > 0 && `Its ${alertsWord(open)} that ${open === 1 ? 'is' : 'are'} open end at once. `}
        What it found before stays in the history.
      </p>
    ),
    action: 'Delete',
    danger: true,
  })

export const RulesPage = ({ query }: PageProps) => {
  const { page, cursor, go } = useCursors('rules')
  const list = useResource(`rules ${cursor}`, (signal) =>
    get<RuleList>('admin/alert-rules', { limit: pageSize, cursor }, { signal }),
  )
  const [edited, setEdited] = useState<AlertRule>()
  useEvery(refreshMs, () => {
    if (edited === undefined && !list.loading) list.reload()
  })
  const changed = () => {
    list.reload()
    void live.refresh()
  }
  const act = async (call: Promise<Result<unknown>>, done: string) => {
    const answer = await call
    toast(answer.ok ? done : answer.error.message, answer.ok ? 'good' : 'bad')
    changed()
  }
  const actions: RuleActions = {
    edit: setEdited,
    toggle: (rule) =>
      void act(setEnabled(rule.id, !rule.enabled), `${rule.name} is ${rule.enabled ? 'off' : 'on'}.`),
    remove: async (rule) => {
      if (await agreesToDelete(rule)) await act(deleteRule(rule.id), `${rule.name} is deleted.`)
    },
  }
  const create = () => replaceQuery({ create: 1 })
  const rules = list.value?.rules ?? []
  return (
    <>
      <PageHead
        title="Alert rules"
        lead="Each device that a rule fits has an alert of its own."
        actions={
          <Button kind="primary" icon="plus" onClick={create}>
            New rule
          </Button>
        }
      />
      <AlertsNav />
      {list.error && <ErrorNotice error={list.error} onRetry={list.reload} />}
      {list.value === undefined && list.error === undefined && <Loading lines={6} />}
      {list.value !== undefined && rules.length === 0 && page === 0 && (
        <EmptyState icon="bell" title="No rules yet">
          A rule says which values are wrong, for how long, and on which devices.
        </EmptyState>
      )}
      {rules.length > 0 && (
        <>
          <Table caption="Alert rules" columns={columnsFor(actions)} rows={rules} keyOf={({ id }) => id} />
          <Pager
            page={page}
            pageSize={pageSize}
            shown={rules.length}
            total={list.value?.total_rules ?? 0}
            hasNext={list.value?.next_cursor !== undefined}
            onPage={(to) => go(to, list.value?.next_cursor)}
          />
        </>
      )}
      <p class="foot-note muted">
        Who is told of alerts: <a href={href('/settings/webhooks')}>webhooks</a>.
      </p>
      {(edited !== undefined || query.has('create')) && (
        <RuleDialog
          key={edited?.id}
          rule={edited}
          deviceId={query.get('device_id') ?? ''}
          onClose={() => {
            setEdited(undefined)
            replaceQuery({})
          }}
          onSaved={changed}
        />
      )}
    </>
  )
}
