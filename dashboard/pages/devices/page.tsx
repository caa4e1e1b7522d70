/** The list of devices: search, filters, sorting, pages, and actions on a selection. */
import { useRef, useState } from 'preact/hooks'
import { get } from '../../api.ts'
import { useEvery } from '../../every.ts'
import { live } from '../../live.ts'
import type { PageProps } from '../../pages.ts'
import { useResource } from '../../resource.ts'
import { href, replaceQuery } from '../../router.ts'
import { Button, ButtonLink } from '../../ui/button.tsx'
import { errorAt } from '../../ui/field.tsx'
import { LabelList } from '../../ui/labels.tsx'
import { PageHead } from '../../ui/layout.tsx'
import { EmptyState, ErrorNotice, Loading, Pager } from '../../ui/states.tsx'
import { OnlineDot, StatusBadge } from '../../ui/status.tsx'
import { type Column, Table } from '../../ui/table.tsx'
import { Time } from '../../ui/time.tsx'
import { toast } from '../../ui/toast.tsx'
import type { DeviceList, ListedDevice } from './answers.ts'
import { type BulkAction, BulkDialog, devicesCount } from './bulk.tsx'
import { FilterBar, type Filters, filtersOf, isFiltered, noFilters } from './filters.tsx'
import { ImportDevices } from './import.tsx'
import { SelectionBar, targetsOf } from './selection.tsx'

const pageSize = 50
/** Time between two looks at the page that is shown, ms. */
const refreshMs = 10_000

const columns: readonly Column<ListedDevice>[] = [
  {
    name: 'Name',
    sortKey: 'name',
    cell: ({ id, name, labels }) => (
      <div>
        <a class="device-name" href={href(`/devices/${id}`)}>
          {name}
        </a>
        {Object.keys(labels).length > 0 && <LabelList labels={labels} />}
      </div>
    ),
  },
  { name: 'Connection', cell: ({ is_online }) => <OnlineDot online={is_online} /> },
  { name: 'Status', sortKey: 'status', cell: ({ status }) => <StatusBadge status={status} /> },
  { name: 'Type', sortKey: 'device_type', cell: ({ device_type }) => device_type },
  {
    name: 'Location',
    sortKey: 'location',
    wideOnly: true,
    cell: ({ location }) => location ?? <span class="muted">–</span>,
  },
  { name: 'Last seen', sortKey: 'last_seen', cell: ({ last_seen }) => <Time time={last_seen} /> },
  { name: 'Id', sortKey: 'id', number: true, wideOnly: true, cell: ({ id }) => id },
]

const Nothing = ({ filtered, onClear }: { filtered: boolean; onClear: () => void }) =>
  filtered ? (
    <EmptyState
      icon="search"
      title="No device fits"
      actions={<Button onClick={onClear}>Clear the filters</Button>}
    />
  ) : (
    <EmptyState
      icon="devices"
      title="No devices yet"
      actions={
        <ButtonLink href={href('/connect')} icon="plus" kind="primary">
          Connect a device
        </ButtonLink>
      }
    >
      Connect one, import a file, or let devices register themselves.
    </EmptyState>
  )

/** Names by the ids of the devices that are selected. */
type Selected = ReadonlyMap<number, string>

interface ListProps {
  filters: Filters
  selected: Selected
  onSelect: (selected: Selected) => void
  onSort: (key: string, descending: boolean) => void
  list: DevicePages
}

/** The table with its pager. */
const DeviceTable = ({ filters, selected, onSelect, onSort, list }: ListProps) => (
  <>
    <Table
      caption="Devices"
      columns={columns}
      rows={list.devices}
      keyOf={({ id }) => id}
      selection={{
        keys: new Set(selected.keys()),
        nameOf: ({ name }) => name,
        onChange: (keys) => {
          const names = new Map([...selected, ...list.devices.map(({ id, name }) => [id, name] as const)])
          onSelect(new Map([...keys].map((id) => [Number(id), names.get(Number(id)) ?? ''])))
        },
      }}
      sort={{ key: filters.sort || 'id', descending: filters.order === 'desc' }}
      onSort={onSort}
      loading={list.isLoading}
    />
    <Pager
      page={list.page}
      pageSize={pageSize}
      shown={list.devices.length}
      total={list.total ?? 0}
      hasNext={list.hasNext}
      onPage={list.goTo}
    />
  </>
)

/** The page of the list that the filters and the pager ask for; it is looked at again every few seconds. */
function useDevices(filters: Filters) {
  /** The cursors of the pages up to this one. */
  const [cursors, setCursors] = useState<readonly (string | undefined)[]>([undefined])
  const cursor = cursors.at(-1)
  const asked = { ...Object.fromEntries(Object.entries(filters).filter(([, value]) => value !== '')), cursor }
  const list = useResource(JSON.stringify(asked), (signal) =>
    get<DeviceList>('admin/devices', { ...asked, limit: pageSize }, { signal }),
  )
  // The last answer stays while another page is read: nothing jumps.
  const before = useRef<DeviceList | undefined>(undefined)
  if (list.value !== undefined) before.current = list.value
  const shown = list.value ?? before.current
  useEvery(refreshMs, list.reload)
  const next = list.value?.next_cursor
  return {
    devices: (shown?.devices ?? []) as readonly ListedDevice[],
    total: shown?.total_devices,
    error: list.error,
    isLoading: list.value === undefined,
    page: cursors.length - 1,
    hasNext: next !== undefined,
    goTo: (page: number) =>
      setCursors(page < cursors.length ? cursors.slice(0, page + 1) : [...cursors, next]),
    toFirst: () => setCursors([undefined]),
    reload: list.reload,
  }
}

type DevicePages = ReturnType<typeof useDevices>

interface DialogsProps {
  opened: Opened
  selected: Selected
  onClose: () => void
  onChanged: () => void
  onSelect: (selected: Selected) => void
}

type Opened = 'import' | BulkAction | undefined

const Dialogs = ({ opened, selected, onClose, onChanged, onSelect }: DialogsProps) => {
  if (opened === undefined) return null
  if (opened === 'import') return <ImportDevices onClose={onClose} onImported={onChanged} />
  return (
    <BulkDialog
      action={opened}
      targets={[...selected].map(([id, name]) => ({ id, name }))}
      onClose={(any) => {
        if (opened === 'delete' && any) onSelect(new Map())
        onClose()
        if (any) onChanged()
      }}
    />
  )
}

export const DevicesPage = ({ query }: PageProps) => {
  const filters = filtersOf(query)
  const list = useDevices(filters)
  const [selected, setSelected] = useState<Selected>(new Map())
  const [opened, setOpened] = useState<Opened>()
  const change = (changes: Partial<Filters>) => {
    list.toFirst()
    if (!('sort' in changes)) setSelected(new Map())
    replaceQuery({ ...filters, ...changes })
  }
  const changed = () => {
    list.reload()
    void live.refresh()
  }
  const selectAll = async () => {
    const all = await targetsOf(filters)
    if (all === undefined) toast('The server did not answer: nothing more is selected.', 'bad')
    else setSelected(new Map(all.map(({ id, name }) => [id, name])))
  }
  const { total, devices, error } = list
  const selectorError = errorAt(error, 'selector')
  const lead = total !== undefined && `${devicesCount(total)}${isFiltered(filters) ? ' fit the filters' : ''}`
  return (
    <>
      <PageHead
        title="Devices"
        lead={lead}
        actions={
          <>
            <Button onClick={() => setOpened('import')}>Import</Button>
            <ButtonLink href={href('/connect')} icon="plus" kind="primary">
              Connect a device
            </ButtonLink>
          </>
        }
      />
      <FilterBar filters={filters} onChange={change} selectorError={selectorError} />
      {selected.size > 0 && (
        <SelectionBar
          selected={selected}
          total={total ?? 0}
          onAll={selectAll}
          onNone={() => setSelected(new Map())}
          onAction={setOpened}
        />
      )}
      {error && selectorError === undefined && <ErrorNotice error={error} onRetry={list.reload} />}
      {total === undefined && error === undefined && <Loading lines={8} />}
      {total !== undefined && devices.length === 0 && (
        <Nothing filtered={isFiltered(filters)} onClear={() => change(noFilters)} />
      )}
      {devices.length > 0 && (
        <DeviceTable
          {...{ filters, selected, list }}
          onSelect={setSelected}
          onSort={(key, descending) => change({ sort: key, order: descending ? 'desc' : '' })}
        />
      )}
      <Dialogs
        {...{ opened, selected }}
        onClose={() => setOpened(undefined)}
        onChanged={changed}
        onSelect={setSelected}
      />
    </>
  )
}
