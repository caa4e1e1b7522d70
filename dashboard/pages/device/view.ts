/** What the charts of a device show, as the address of the page holds it. */
import { type Aggregation, aggregations } from '../../charts/model.ts'
import { type Range, readRange, writeRange } from '../../charts/range.ts'

export interface View {
  /** Undefined: the usual one. */
  readonly range: Range | undefined
  readonly aggregation: Aggregation
  /** One chart for each field; undefined: where they do not go well together. */
  readonly isApart: boolean | undefined
  /** Undefined: those that go well together. */
  readonly fields: readonly string[] | undefined
}

const isAggregation = (text: string | null): text is Aggregation => aggregations.some((name) => name === text)

export function readView(query: URLSearchParams): View {
  const [aggregation, fields] = [query.get('agg'), query.get('fields')]
  return {
    range: readRange(query.get('range') ?? ''),
    aggregation: isAggregation(aggregation) ? aggregation : 'mean',
    isApart: query.has('view') ? query.get('view') === 'apart' : undefined,
    // No name of a field has a comma.
    fields: fields === null ? undefined : fields.split(',').filter((name) => name !== ''),
  }
}

/** The query of the address; what is usual is left out. */
export const writeView = ({ range, aggregation, isApart, fields }: View) => ({
  range: range && writeRange(range),
  agg: aggregation === 'mean' ? undefined : aggregation,
  view: isApart === undefined ? undefined : isApart ? 'apart' : 'together',
  // A comma alone says that no field is chosen.
  fields: fields === undefined ? undefined : fields.join(',') || ',',
})
