/** Tables with a caption for screen readers, sortable heads, and rows that become cards on a phone. */
import type { ComponentChildren } from 'preact'
import { Checkbox } from './field.tsx'

export interface Column<Row> {
  readonly name: string
  readonly cell: (row: Row) => ComponentChildren
  /** Numbers stand right. */
  readonly number?: boolean
  /** Left out where the screen is narrow. */
  readonly wideOnly?: boolean
  /** A text that takes a whole line where the screen is narrow. */
  readonly text?: boolean
  /** Sent back by `onSort`; a column without it cannot be sorted. */
  readonly sortKey?: string
}

export interface Selection<Row> {
  readonly keys: ReadonlySet<string | number>
  readonly onChange: (keys: ReadonlySet<string | number>) => void
  /** Names a row for its box: `pump-7`. */
  readonly nameOf: (row: Row) => string
}

interface TableProps<Row> {
  caption: string
  columns: readonly Column<Row>[]
  rows: readonly Row[]
  keyOf: (row: Row) => string | number
  selection?: Selection<Row>
  sort?: { readonly key: string; readonly descending: boolean }
  onSort?: (key: string, descending: boolean) => void
  /** The rows are of before, and new ones are on their way. */
  loading?: boolean
}

const classOf = <Row,>({ number, wideOnly, text }: Column<Row>) =>
  [number && 'number', wideOnly && 'wide-only', text && 'text'].filter(Boolean).join(' ') || undefined

const changed = (keys: ReadonlySet<string | number>, changes: readonly (string | number)[], add: boolean) => {
  const result = new Set(keys)
  for (const key of changes) {
    if (add) result.add(key)
    else result.delete(key)
  }
  return result
}

const Head = <Row,>({
  column,
  sort,
  onSort,
}: { column: Column<Row> } & Pick<TableProps<Row>, 'sort' | 'onSort'>) => {
  const { name, sortKey } = column
  const sorted = sortKey !== undefined && sort?.key === sortKey
  const order = sort?.descending ? 'descending' : 'ascending'
  return (
    <th scope="col" class={classOf(column)} aria-sort={sorted ? order : undefined}>
      {sortKey === undefined || onSort === undefined ? (
        name
      ) : (
        <button
          type="button"
          class="sort"
          onClick={() => onSort(sortKey, sorted ? !sort?.descending : false)}
        >
          {name}
          <span aria-hidden="true">{sorted ? (sort?.descending ? '↓' : '↑') : ''}</span>
        </button>
      )}
    </th>
  )
}

export const Table = <Row,>(props: TableProps<Row>) => {
  const { caption, columns, rows, keyOf, selection, sort, onSort, loading } = props
  const keys = rows.map(keyOf)
  const chosen = keys.filter((key) => selection?.keys.has(key)).length
  return (
    <div class="table-box" aria-busy={loading || undefined}>
      <table>
        <caption class="for-readers">{caption}</caption>
        <thead>
          <tr>
            {selection && (
              <th scope="col" class="select">
                <Checkbox
                  label="Select all on this page"
                  hideLabel
                  checked={chosen > 0 && chosen === keys.length}
                  mixed={chosen > 0 && chosen < keys.length}
                  onChange={(all) => selection.onChange(changed(selection.keys, keys, all))}
                />
              </th>
            )}
            {columns.map((column) => (
              <Head key={column.name} {...{ column, ...(sort && { sort }), ...(onSort && { onSort }) }} />
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => {
            const key = keyOf(row)
            return (
              <tr key={key} class={selection?.keys.has(key) ? 'selected' : undefined}>
                {selection && (
                  <td class="select">
                    <Checkbox
                      label={`Select ${selection.nameOf(row)}`}
                      hideLabel
                      checked={selection.keys.has(key)}
                      onChange={(add) => selection.onChange(changed(selection.keys, [key], add))}
                    />
                  </td>
                )}
                {columns.map((column) => (
                  <td key={column.name} data-label={column.name} class={classOf(column)}>
                    {column.cell(row)}
                  </td>
                ))}
              </tr>
            )
          })}
        </tbody>
      </table>
    </div>
  )
}
