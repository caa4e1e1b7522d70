/**
 * The arithmetic of aggregations. Both stores hand their values to it, so that they give the same numbers: a store may add
 * values in any pieces, as long as the values of one field come in the order of their times.
 */
import { AppError } from '../errors.ts'
import { ExactSum } from './exact-sum.ts'
import type { FieldValue } from './reading.ts'
import type { Aggregate, AggregateQuery, Aggregation } from './store.ts'
import { type Window, windowAt } from './windows.ts'

/** Most values in the answer of one aggregation. */
export const maxAggregates = 200_000

/** Values of one aggregation that are kept until its end: only a median needs them. 40 MB. */
const maxKept = 5_000_000

/** What an accumulator knows. */
interface Part {
  readonly count: number
  readonly values: readonly FieldValue[]
  readonly huge: bigint
}

/** Collects the values of one field in one window. */
abstract class Accumulator {
  count = 0

  abstract add(value: FieldValue): void
  abstract result(): FieldValue
  abstract part(): Part

  /** Adds what another accumulator collected at later times. */
  take({ count, values }: Part): void {
    const total = this.count + count
    for (const value of values) this.add(value)
    this.count = total
  }
}

class Count extends Accumulator {
  add(): void {
    this.count += 1
  }

  result(): number {
    return this.count
  }

  part(): Part {
    return { count: this.count, values: [], huge: 0n }
  }
}

/** Keeps one value: the first, the last, the smallest or the largest. */
class Chosen extends Accumulator {
  readonly #isBetter: (value: FieldValue, than: FieldValue) => boolean
  #value: FieldValue | undefined

  constructor(isBetter: (value: FieldValue, than: FieldValue) => boolean) {
    super()
    this.#isBetter = isBetter
  }

  add(value: FieldValue): void {
    this.count += 1
    if (this.#value === undefined || this.#isBetter(value, this.#value)) this.#value = value
  }

  result(): FieldValue {
    return this.#value ?? 0
  }

  part(): Part {
    return { count: this.count, values: this.#value === undefined ? [] : [this.#value], huge: 0n }
  }
}

class Sum extends Accumulator {
  readonly #sum = new ExactSum()
  readonly #isMean: boolean

  constructor(isMean: boolean) {
    super()
    this.#isMean = isMean
  }

  add(value: FieldValue): void {
    this.count += 1
    this.#sum.add(value as number)
  }

  result(): number {
    return this.#isMean ? this.#sum.mean(this.count) : this.#sum.value()
  }

  part(): Part {
    const { parts, huge } = this.#sum.parts()
    return { count: this.count, values: parts, huge }
  }

  override take({ count, values, huge }: Part): void {
    this.#sum.take({ parts: values as readonly number[], huge })
    this.count += count
  }
}

class Median extends Accumulator {
  readonly #values: number[] = []

  add(value: FieldValue): void {
    this.count += 1
    this.#values.push(value as number)
  }

  result(): number {
    const sorted = Float64Array.from(this.#values).sort()
    const low = sorted[(sorted.length - 1) >> 1] as number
    const high = sorted[sorted.length >> 1] as number
    const sum = low + high
    return Number.isFinite(sum) ? sum / 2 : low / 2 + high / 2
  }

  part(): Part {
    return { count: this.count, values: this.#values, huge: 0n }
  }
}

/** To add an aggregation, add it to `aggregations` in `store.ts` and here. */
const accumulators: Record<Aggregation, () => Accumulator> = {
  mean: () => new Sum(true),
  sum: () => new Sum(false),
  count: () => new Count(),
  min: () => new Chosen((value, than) => value < than),
  max: () => new Chosen((value, than) => value > than),
  first: () => new Chosen(() => false),
  last: () => new Chosen(() => true),
  median: () => new Median(),
}

/** These take text, too. */
const ofEveryType: ReadonlySet<Aggregation> = new Set(['count', 'first', 'last'])

/** Whether an aggregation needs the values of text; others only need to know that there is text. */
export const takesText = (aggregation: Aggregation): boolean => ofEveryType.has(aggregation)

class FieldWindows {
  hasNumbers = false
  hasBooleans = false
  hasText = false
  readonly windows = new Map<number, Accumulator>()
  #window: Window = { start: 0, end: 0 }
  #current: Accumulator | undefined

  /** The accumulator of the window that contains this second. */
  at(second: number, windowOf: (second: number) => Window, make: () => Accumulator): Accumulator {
    if (this.#current !== undefined && second >= this.#window.start && second < this.#window.end)
      return this.#current
    this.#window = windowOf(second)
    let current = this.windows.get(this.#window.start)
    if (current === undefined) {
      current = make()
      this.windows.set(this.#window.start, current)
    }
    this.#current = current
    return current
  }
}

/**
 * What one field has collected, for another thread: the parts of its windows, one column for each of their properties.
 * Columns of numbers are copied to the other thread ten times as fast as an object for each window.
 */
export interface FieldParts {
  readonly name: string
  readonly hasNumbers: boolean
  readonly hasBooleans: boolean
  readonly hasText: boolean
  readonly starts: Float64Array
  readonly counts: Float64Array
  /** Where the values of each window end in `values`. */
  readonly ends: Float64Array
  readonly values: Float64Array | readonly FieldValue[]
  /** The whole numbers of sums, by the place of their window; few sums have one. */
  readonly huge: ReadonlyMap<number, bigint>
}

const partsOf = (name: string, field: FieldWindows): FieldParts => {
  const { hasNumbers, hasBooleans, hasText, windows } = field
  const [counts, ends] = [new Float64Array(windows.size), new Float64Array(windows.size)]
  const values: FieldValue[] = []
  const huge = new Map<number, bigint>()
  let at = 0
  for (const accumulator of windows.values()) {
    const part = accumulator.part()
    counts[at] = part.count
    for (const value of part.values) values.push(value)
    ends[at] = values.length
    if (part.huge !== 0n) huge.set(at, part.huge)
    at += 1
  }
  return {
    name,
    hasNumbers,
    hasBooleans,
    hasText,
    starts: Float64Array.from(windows.keys()),
    counts,
    ends,
    values: hasText ? values : Float64Array.from(values as number[]),
    huge,
  }
}

const tooManyValues = () =>
  new AppError('VALIDATION_FAILED', 'That is too many values for one answer: ask for less.', {
    details: [{ path: 'window', message: 'is too small for all fields of this range' }],
  })

const tooManyKept = () =>
  new AppError('VALIDATION_FAILED', 'That is too many values for one median: ask for a shorter range.', {
    details: [{ path: 'start_time', message: `makes more than ${maxKept} values` }],
  })

const notNumeric = (aggregation: Aggregation) => {
  const message = `is text: ${aggregation} needs numbers; count, first and last take every type`
  return new AppError('NOT_NUMERIC', `The field ${message}.`, { details: [{ path: 'field', message }] })
}

const tooLarge = (aggregation: Aggregation, name: string) => {
  const message = `of ${name} is beyond the largest number, 1.8e308`
  return new AppError('VALIDATION_FAILED', `The ${aggregation} ${message}.`, {
    details: [{ path: 'aggregation', message }],
  })
}

const byName = ([one]: readonly [string, unknown], [other]: readonly [string, unknown]) =>
  one < other ? -1 : 1

export class Aggregator {
  readonly #query: Pick<AggregateQuery, 'field' | 'aggregation' | 'bounds'>
  readonly #takesText: boolean
  readonly #fields = new Map<string, FieldWindows>()
  #windows = 0
  /** Windows of fields with numbers: all of them belong to the answer. */
  #numericWindows = 0
  #kept = 0

  constructor(query: Pick<AggregateQuery, 'field' | 'aggregation' | 'bounds'>) {
    this.#query = query
    this.#takesText = takesText(query.aggregation)
  }

  /** Whether it holds so much that {@link result} can only refuse. */
  get isFull(): boolean {
    return this.#numericWindows > maxAggregates || this.#windows > 5 * maxAggregates || this.#kept > maxKept
  }

  /** Notes that a field has text in the range. */
  noteText(name: string): void {
    this.#field(name).hasText = true
  }

  /** @param second since the epoch, in the range. */
  add(second: number, name: string, value: FieldValue): void {
    const field = this.#field(name)
    if (typeof value === 'number') this.#noteNumbers(field)
    else if (typeof value === 'boolean') field.hasBooleans = true
    else {
      field.hasText = true
      if (!this.#takesText) return
    }
    this.#accumulator(field, second).add(typeof value === 'boolean' ? Number(value) : value)
    if (this.#query.aggregation === 'median') this.#kept += 1
  }

  /** What it has collected, for {@link take} in another thread. */
  parts(): FieldParts[] {
    return Array.from(this.#fields, ([name, field]) => partsOf(name, field))
  }

  /** Adds what another aggregator of the same query collected at later times. */
  take(parts: readonly FieldParts[]): void {
    for (const { name, hasNumbers, hasBooleans, hasText, starts, counts, ends, values, huge } of parts) {
      const field = this.#field(name)
      if (hasNumbers) this.#noteNumbers(field)
      field.hasBooleans ||= hasBooleans
      field.hasText ||= hasText
      for (const [at, start] of starts.entries()) {
        const own = values.slice(at === 0 ? 0 : ends[at - 1], ends[at]) as readonly FieldValue[]
        const count = counts[at] as number
        this.#accumulator(field, start).take({ count, values: own, huge: huge.get(at) ?? 0n })
        if (this.#query.aggregation === 'median') this.#kept += count
      }
    }
  }

  /**
   * The windows with values, newest first.
   * @throws {AppError} NOT_NUMERIC when the field is text in the whole range; VALIDATION_FAILED for more than 200,000 values
   * in the answer, 5,000,000 values for a median, and a sum beyond the largest double.
   */
  result(): Aggregate[] {
    const { field, aggregation } = this.#query
    const asked = [...this.#fields].filter(([, { hasNumbers }]) => field !== undefined || hasNumbers)
    for (const [, { hasNumbers, hasBooleans, hasText }] of asked)
      if (hasText && !hasNumbers && !hasBooleans && !this.#takesText) throw notNumeric(aggregation)
    if (this.#kept > maxKept) throw tooManyKept()
    const values = asked.reduce((sum, [, { windows }]) => sum + windows.size, 0)
    if (values > maxAggregates || this.isFull) throw tooManyValues()
    const windows = new Map<number, Record<string, FieldValue>>()
    for (const [name, { windows: ofField }] of asked.sort(byName))
      for (const [start, accumulator] of ofField) {
        const value = accumulator.result()
        if (typeof value === 'number' && !Number.isFinite(value)) throw tooLarge(aggregation, name)
        const window = windows.get(start) ?? {}
        windows.set(start, window)
        window[name] = value
      }
    return [...windows]
      .sort(([one], [other]) => other - one)
      .map(([start, ofWindow]) => ({ time: BigInt(start) * 1_000_000_000n, values: ofWindow }))
  }

  #field(name: string): FieldWindows {
    let field = this.#fields.get(name)
    if (field === undefined) {
      field = new FieldWindows()
      this.#fields.set(name, field)
    }
    return field
  }

  #noteNumbers(field: FieldWindows): void {
    if (field.hasNumbers) return
    field.hasNumbers = true
    this.#numericWindows += field.windows.size
  }

  #accumulator(field: FieldWindows, second: number): Accumulator {
    return field.at(
      second,
      (inside) => windowAt(this.#query.bounds, inside),
      () => {
        this.#windows += 1
        if (field.hasNumbers) this.#numericWindows += 1
        return accumulators[this.#query.aggregation]()
      },
    )
  }
}
