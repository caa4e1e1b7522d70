/** Which alerts the page shows, as its address holds it. */
import { replaceQuery } from '../../router.ts'
import { Field, Select } from '../../ui/field.tsx'
import { type AlertRule, alertStates, severities } from './answers.ts'

const filterNames = ['state', 'severity', 'rule_id', 'device_id'] as const
export type Filters = Readonly<Record<(typeof filterNames)[number], string>>

const isId = (text: string) => /^\d{1,15}$/.test(text)

export const filtersOf = (query: URLSearchParams): Filters =>
  Object.fromEntries(filterNames.map((name) => [name, query.get(name) ?? ''])) as Filters

/** The filters as the API takes them; an id that is none is left out. */
export const askedOf = ({ severity, rule_id: ruleId, device_id: deviceId }: Filters) => ({
  severity: severity === '' ? undefined : severity,
  rule_id: isId(ruleId) ? ruleId : undefined,
  device_id: isId(deviceId) ? deviceId : undefined,
})

/** The rules that are known; a rule of the address that is not among them has its number. */
const ruleOptions = (rules: readonly AlertRule[], chosen: string) => {
  const known = rules.map(({ id, name }) => [String(id), name] as const)
  const isKnown = chosen === '' || known.some(([id]) => id === chosen)
  return [['', 'All rules'] as const, ...known, ...(isKnown ? [] : [[chosen, `Rule ${chosen}`] as const])]
}

export const FilterBar = ({ filters, rules }: { filters: Filters; rules: readonly AlertRule[] }) => {
  const change = (changes: Partial<Filters>) => replaceQuery({ ...filters, ...changes })
  return (
    <search class="filters">
      <Select
        label="State"
        value={filters.state}
        onInput={(state) => change({ state })}
        options={[['', 'All'], ...alertStates.map((state) => [state, state] as const)]}
      />
      <Select
        label="Severity"
        value={filters.severity}
        onInput={(severity) => change({ severity })}
        options={[['', 'All'], ...severities.map((severity) => [severity, severity] as const)]}
      />
      <Select
        label="Rule"
        value={filters.rule_id}
        onInput={(rule_id) => change({ rule_id })}
        options={ruleOptions(rules, filters.rule_id)}
      />
      <Field
        label="Device id"
        value={filters.device_id}
        onInput={(value) => change({ device_id: value.trim() })}
        error={filters.device_id === '' || isId(filters.device_id) ? undefined : 'An id is a number.'}
      />
    </search>
  )
}
