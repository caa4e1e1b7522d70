/** The alerts of one state in a table, page by page. */
import type { ComponentChildren } from 'preact'
import { useEffect } from 'preact/hooks'
import { get } from '../../api.ts'
import { useCursors } from '../../cursors.ts'
import { useEvery } from '../../every.ts'
import { count, span } from '../../format.ts'
import { useResource } from '../../resource.ts'
import { ErrorNotice, Loading, Pager } from '../../ui/states.tsx'
import { type Column, type Selection, Table } from '../../ui/table.tsx'
import { Time } from '../../ui/time.tsx'
import { DeviceLink, SeverityBadge } from './alert-line.tsx'
import type { Alert, AlertList, AlertState } from './answers.ts'
import { askedOf, type Filters } from './filters.tsx'
import { alertTitle, clearReasonText, conditionText, measuredText } from './words.ts'

const pageSize = 25
/** Time between two looks at a page that nobody works on, ms. */
const refreshMs = 5000

const titles: Readonly<Record<AlertState, string>> = {
  open: 'Open',
  acknowledged: 'Acknowledged',
  cleared: 'Cleared',
}

const lasted = ({ opened_at: from, cleared_at: to }: Alert) =>
  to === null ? '' : `after ${span((Date.parse(to) - Date.parse(from)) / 1000)}`

const valueCell = (alert: Alert) =>
  alert.last_value === null ? (
    <span class="muted">–</span>
  ) : (
    <span
      title={alert.opened_value === null ? undefined : `opened at ${measuredText(alert, alert.opened_value)}`}
    >
      {measuredText(alert, alert.last_value)}
    </span>
  )

const columnsFor = (state: AlertState, onOpen: (alert: Alert) => void): readonly Column<Alert>[] => [
  {
    name: 'Alert',
    cell: (alert) => (
      <div>
        <button type="button" class="link alert-name" onClick={() => onOpen(alert)}>
          {alert.rule_name}
        </button>
        <p class="small muted">{conditionText(alert.condition)}</p>
      </div>
    ),
  },
  { name: 'Severity', cell: (alert) => <SeverityBadge severity={alert.severity} /> },
  {
    name: 'Device',
    cell: (alert) => <DeviceLink alert={alert} />,
  },
  { name: state === 'cleared' ? 'Last value' : 'Value', number: true, cell: valueCell },
  {
    name: 'Since',
    cell: ({ opened_at: time }) => (
      <span class="nowrap">
        <Time time={time} />
      </span>
    ),
  },
  ...(state === 'acknowledged'
    ? [
        {
          name: 'Note',
          cell: ({ acknowledged_note: note }: Alert) => note ?? <span class="muted">–</span>,
        },
      ]
    : []),
  ...(state === 'cleared'
    ? [
        {
          name: 'Cleared',
          cell: (alert: Alert) => (
            <div>
              <span class="nowrap">
                <Time time={alert.cleared_at} />
              </span>
              <p class="small muted">
                {lasted(alert)}
                {alert.clear_reason !== null &&
                  alert.clear_reason !== 'condition' &&
                  `: ${clearReasonText(alert.clear_reason)}`}
              </p>
            </div>
          ),
        },
      ]
    : []),
]

interface AlertGroupProps {
  state: AlertState
  filters: Filters
  /** Raised when something was changed: the list is asked for again. */
  turn: number
  onOpen: (alert: Alert) => void
  /** Only of what can be acknowledged. */
  selection?: Omit<Selection<Alert>, 'nameOf' | 'onChange'> & {
    readonly onChange: (chosen: readonly Alert[]) => void
  }
  /** Buttons for the selection. */
  actions?: ComponentChildren
  /** Shown in the place of an empty list; without it an empty group is left out. */
  empty?: ComponentChildren
}

export const AlertGroup = (props: AlertGroupProps) => {
  const { state, filters, turn, onOpen, selection, actions, empty } = props
  const asked = { ...askedOf(filters), state, limit: pageSize }
  const { page, cursor, go } = useCursors(JSON.stringify(asked))
  const list = useResource(JSON.stringify({ ...asked, cursor }), (signal) =>
    get<AlertList>('admin/alerts', { ...asked, cursor }, { signal }),
  )
  useEffect(() => {
    if (turn > 0) list.reload()
  }, [turn])
  // A list that somebody works on does not move under the pointer.
  const isAtRest = page === 0 && (selection?.keys.size ?? 0) === 0
  useEvery(refreshMs, () => {
    if (isAtRest && !list.loading) list.reload()
  })
  const alerts = list.value?.alerts ?? []
  if (list.value === undefined)
    return list.error ? <ErrorNotice error={list.error} onRetry={list.reload} /> : <Loading lines={4} />
  if (alerts.length === 0 && page === 0) return <>{empty}</>
  return (
    <section class="alert-group" aria-label={titles[state]}>
      <header class="group-head">
        <h2>
          {titles[state]} <span class="muted">{count(list.value.total_alerts)}</span>
        </h2>
        {actions}
      </header>
      {list.error && <ErrorNotice error={list.error} onRetry={list.reload} />}
      <Table
        caption={`${titles[state]}, newest first`}
        columns={columnsFor(state, onOpen)}
        rows={alerts}
        keyOf={({ id }) => id}
        {...(selection && {
          selection: {
            keys: selection.keys,
            nameOf: alertTitle,
            onChange: (keys: ReadonlySet<string | number>) =>
              selection.onChange(alerts.filter(({ id }) => keys.has(id))),
          },
        })}
        loading={list.loading && page > 0}
      />
      {(page > 0 || list.value.next_cursor !== undefined) && (
        <Pager
          page={page}
          pageSize={pageSize}
          shown={alerts.length}
          total={list.value.total_alerts}
          hasNext={list.value.next_cursor !== undefined}
          onPage={(to) => {
            selection?.onChange([])
            go(to, list.value?.next_cursor)
          }}
        />
      )}
    </section>
  )
}
