/** Alerts: what is open now, what somebody takes care of, and what is over. */
import { useState } from 'preact/hooks'
import type { Overview } from '../../answers.ts'
import { get } from '../../api.ts'
import { count } from '../../format.ts'
import { live } from '../../live.ts'
import type { PageProps } from '../../pages.ts'
import { useResource } from '../../resource.ts'
import { href, replaceQuery } from '../../router.ts'
import { Button, ButtonLink } from '../../ui/button.tsx'
import { PageHead } from '../../ui/layout.tsx'
import { EmptyState } from '../../ui/states.tsx'
import { AcknowledgeDialog, alertsWord } from './acknowledge.tsx'
import { AlertDialog } from './alert-dialog.tsx'
import { AlertGroup } from './alert-group.tsx'
import { type Alert, type AlertState, alertStates, type RuleList, severities } from './answers.ts'
import { FilterBar, filtersOf } from './filters.tsx'
import { AlertsNav } from './sub-nav.tsx'
import { alertTitle } from './words.ts'

/** Loaded with this page: whoever looks at alerts looks at rules, too, and each file more is a request more. */
export { RulesPage } from './rules.tsx'

/** Rules that the filter offers. */
const offeredRules = 200

const isState = (text: string): text is AlertState => alertStates.some((state) => state === text)

/** `Open: 2 critical, 1 warning.` */
const leadOf = (overview: Overview | undefined) => {
  const open = overview?.alerts?.open
  if (open === undefined) return undefined
  const parts = severities.filter((name) => open[name] > 0).map((name) => `${count(open[name])} ${name}`)
  return parts.length === 0 ? 'None is open.' : `Open: ${parts.join(', ')}.`
}

const NoneOpen = ({ hasRules, isFiltered }: { hasRules: boolean; isFiltered: boolean }) =>
  hasRules || isFiltered ? (
    <EmptyState icon="check" title={isFiltered ? 'No open alert fits' : 'No open alert'}>
      {!isFiltered && 'Every value is where its rules want it.'}
    </EmptyState>
  ) : (
    <EmptyState
      icon="bell"
      title="Nothing is watched yet"
      actions={
        <ButtonLink href={href('/alerts/rules', { create: 1 })} kind="primary" icon="plus">
          Make a rule
        </ButtonLink>
      }
    >
      A rule says which values are wrong, and opens an alert for each device where they occur.
    </EmptyState>
  )

const targetOf = (alert: Alert) => ({ id: alert.id, name: alertTitle(alert) })

export const AlertsPage = ({ query }: PageProps) => {
  const filters = filtersOf(query)
  const opened = Number(query.get('alert') ?? 0)
  const rules = useResource('rules', (signal) =>
    get<RuleList>('admin/alert-rules', { limit: offeredRules }, { signal }),
  )
  const [selected, setSelected] = useState<readonly Alert[]>([])
  const [isAcknowledging, setAcknowledging] = useState(false)
  const [turn, setTurn] = useState(0)
  const changed = () => {
    setSelected([])
    setTurn((before) => before + 1)
    void live.refresh()
  }
  const open = (alert: Alert | undefined) => replaceQuery({ ...filters, alert: alert?.id })
  const states = isState(filters.state) ? [filters.state] : alertStates
  const isFiltered = Object.values(filters).some((value) => value !== '')
  const shared = { filters, turn, onOpen: open }
  return (
    <>
      <PageHead title="Alerts" lead={leadOf(live.overview.value)} />
      <AlertsNav />
      <FilterBar filters={filters} rules={rules.value?.rules ?? []} />
      {states.map((state) =>
        state === 'open' ? (
          <AlertGroup
            key={state}
            state={state}
            {...shared}
            selection={{ keys: new Set(selected.map(({ id }) => id)), onChange: setSelected }}
            actions={
              <Button
                small
                icon="check"
                disabled={selected.length === 0}
                onClick={() => setAcknowledging(true)}
              >
                {selected.length === 0 ? 'Acknowledge' : `Acknowledge ${alertsWord(selected.length)}`}
              </Button>
            }
            empty={rules.value && <NoneOpen hasRules={rules.value.total_rules > 0} isFiltered={isFiltered} />}
          />
        ) : (
          <AlertGroup
            key={state}
            state={state}
            {...shared}
            {...(states.length === 1 && { empty: <EmptyState icon="check" title="No such alert" /> })}
          />
        ),
      )}
      {opened > 0 && <AlertDialog id={opened} onClose={() => open(undefined)} onChanged={changed} />}
      {isAcknowledging && (
        <AcknowledgeDialog
          targets={selected.map(targetOf)}
          onClose={() => setAcknowledging(false)}
          onDone={changed}
        />
      )}
    </>
  )
}
