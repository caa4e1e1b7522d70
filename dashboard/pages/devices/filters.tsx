/** Which devices the list shows: what is searched for and filtered, as the address of the page holds it. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { live } from '../../live.ts'
import { Field, Select } from '../../ui/field.tsx'
import { statuses } from './answers.ts'

/** Pause in typing after which the search begins, ms. */
const typingMs = 250

const filterNames = [
  'q',
  'status',
  'device_type',
  'online',
  'configuration',
  'selector',
  'sort',
  'order',
] as const
export type Filters = Readonly<Record<(typeof filterNames)[number], string>>

export const filtersOf = (query: URLSearchParams): Filters =>
  Object.fromEntries(filterNames.map((name) => [name, query.get(name) ?? ''])) as Filters

export const noFilters = {
  q: '',
  status: '',
  device_type: '',
  online: '',
  configuration: '',
  selector: '',
} as const

export const isFiltered = (filters: Filters): boolean =>
  Object.keys(noFilters).some((name) => filters[name as keyof typeof noFilters] !== '')

/** Types with their numbers, where the overview knows them; and the one that is chosen. */
const typeOptions = (chosen: string): readonly (readonly [string, string])[] => {
  const known = Object.entries(live.overview.value?.devices.by_type ?? {})
  const listed = known.map(([type, count]) => [type, `${type} (${count.toLocaleString()})`] as const)
  const isKnown = chosen === '' || known.some(([type]) => type === chosen)
  return [['', 'All types'], ...listed, ...(isKnown ? [] : [[chosen, chosen] as const])]
}

/** What is typed in a field; `onChange` gets it after a pause. */
function useTyped(given: string, onChange: (text: string) => void) {
  const [typed, setTyped] = useState(given)
  const newest = useRef(onChange)
  newest.current = onChange
  useEffect(() => setTyped(given), [given])
  useEffect(() => {
    if (typed === given) return
    const timer = setTimeout(() => newest.current(typed), typingMs)
    return () => clearTimeout(timer)
  }, [typed, given])
  return [typed, setTyped] as const
}

interface FilterBarProps {
  filters: Filters
  onChange: (changes: Partial<Filters>) => void
  /** Why the server does not take the selector. */
  selectorError: string | undefined
}

export const FilterBar = ({ filters, onChange, selectorError }: FilterBarProps) => {
  const [words, setWords] = useTyped(filters.q, (q) => onChange({ q }))
  const [selector, setSelector] = useTyped(filters.selector, (text) => onChange({ selector: text }))
  return (
    <search class="filters">
      <Field
        label="Search"
        type="search"
        placeholder="Name, location or description"
        value={words}
        onInput={setWords}
        maxLength={128}
      />
      <Field
        label="Labels"
        placeholder="site=north, floor!=2"
        value={selector}
        onInput={setSelector}
        maxLength={1024}
        error={selectorError}
      />
      <Select
        label="Status"
        value={filters.status}
        onInput={(status) => onChange({ status })}
        options={[['', 'All'], ...statuses.map((status) => [status, status] as const)]}
      />
      <Select
        label="Connection"
        value={filters.online}
        onInput={(online) => onChange({ online })}
        options={[
          ['', 'All'],
          ['true', 'online'],
          ['false', 'offline'],
        ]}
      />
      <Select
        label="Type"
        value={filters.device_type}
        onInput={(device_type) => onChange({ device_type })}
        options={typeOptions(filters.device_type)}
      />
      <Select
        label="Configuration"
        value={filters.configuration}
        onInput={(configuration) => onChange({ configuration })}
        options={[
          ['', 'All'],
          ['pending', 'not taken yet'],
          ['in_sync', 'in step'],
        ]}
      />
    </search>
  )
}
