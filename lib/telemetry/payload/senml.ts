/** Resolves a pack of SenML (RFC 8428) into readings: one per time, a field per name, base name and units as metadata. */
import { parseTime } from '../time.ts'
import { type Arrival, arrivalTime } from './arrival.ts'
import { isSecretName, maxNameLength } from './names.ts'
import { believe, type Place, type TooOld } from './reading-time.ts'
import { isObject, type Json, ReadingBuilder } from './values.ts'

/** Times below are seconds from now, others since 1970 (section 4.5.3). */
const relativeBelow = 2 ** 28

const valueLabels = ['v', 'vs', 'vb', 'vd'] as const
const labels: ReadonlySet<string> = new Set([
  ...valueLabels,
  ...['bn', 'bt', 'bu', 'bv', 'bs', 'bver', 'n', 'u', 's', 't', 'ut'],
])

/** Whether a list is a pack although its content type does not say so: every item has a name and a value. */
export const isSenml = (list: readonly unknown[]): boolean =>
  list.length > 0 &&
  list.every(
    (item) =>
      isObject(item) &&
      (typeof item.n === 'string' || typeof item.bn === 'string') &&
      valueLabels.some((label) => item[label] !== undefined),
  )

/** What the records so far say about those that follow (section 4.1). */
class Base {
  name = ''
  time = 0
  unit: unknown
  value: number | undefined
  sum: number | undefined

  update({ bn, bt, bu, bv, bs }: Json): void {
    if (typeof bn === 'string') this.name = bn
    if (typeof bt === 'number') this.time = bt
    if (bu !== undefined) this.unit = bu
    if (typeof bv === 'number') this.value = bv
    if (typeof bs === 'number') this.sum = bs
  }
}

/** The names of a pack: `n` alone is enough where all records share one base name. */
const hasOneBase = (records: readonly Json[]): boolean => {
  const base = new Base()
  const names = new Set<string>()
  for (const record of records) {
    base.update(record)
    names.add(base.name)
  }
  return names.size === 1
}

const isScalar = (value: unknown): value is number | string | boolean =>
  typeof value === 'number' || typeof value === 'string' || typeof value === 'boolean'

/** The sum of a number and its base, of which one may be missing. */
const sumOf = (base: number | undefined, own: unknown): number | undefined => {
  if (typeof own === 'number') return (base ?? 0) + own
  return own === undefined ? base : undefined
}

/** Adds an entry of the metadata about a field. */
const describeField = (builder: ReadingBuilder, name: string, value: unknown, path: string): void => {
  if (value === undefined || value === null) return
  if (!isScalar(value)) builder.warn('METADATA_INVALID', path, 'must be a string or a number')
  else if ([...name].length > maxNameLength)
    builder.warn('NAME_INVALID', path, 'is left out: the name is too long')
  else builder.addMetadata(name, value, path)
}

/** Adds the values of one record. @param name its resolved name. */
const addValues = (builder: ReadingBuilder, record: Json, base: Base, name: string): string | undefined => {
  let field: string | undefined
  for (const label of valueLabels) {
    const given = record[label]
    const value = label === 'v' && typeof given === 'number' ? sumOf(base.value, given) : given
    if (value === undefined || value === null) continue
    if (isScalar(value)) field = builder.addNamed(name, value, name) ?? field
    else builder.warn('VALUE_INVALID', name, 'must be a number, a string or a boolean')
  }
  const isBare = valueLabels.every((label) => record[label] === undefined) && record.s === undefined
  if (isBare && base.value !== undefined) field = builder.addNamed(name, base.value, name)
  const sum = sumOf(base.sum, record.s)
  if (sum !== undefined) {
    const ofSum = builder.addNamed(`${name}.sum`, sum, `${name}.sum`)
    field ??= ofSum?.slice(0, -'.sum'.length)
  } else if (record.s !== undefined) builder.warn('VALUE_INVALID', `${name}.sum`, 'must be a number')
  return field
}

const warnOfUnknown = (builder: ReadingBuilder, record: Json, name: string): void => {
  for (const label of Object.keys(record))
    if (!labels.has(label) && !isSecretName(label))
      builder.warn('LABEL_UNKNOWN', `${name}.${label}`, 'is left out: SenML has no such label')
}

/** The readings of a pack by their times, in seconds as the pack resolves them. */
class Pack {
  readonly #builders = new Map<number, ReadingBuilder>()
  readonly #base = new Base()
  readonly #oneBase: boolean
  readonly #subtopic: string | undefined

  constructor(records: readonly Json[], subtopic: string | undefined) {
    this.#oneBase = hasOneBase(records)
    this.#subtopic = subtopic
  }

  get readings(): ReadonlyMap<number, ReadingBuilder> {
    return this.#builders
  }

  add(record: Json): void {
    const base = this.#base
    base.update(record)
    const { n, t, u, ut } = record
    const own = isScalar(n) ? String(n) : ''
    const name = this.#oneBase && own !== '' ? own : base.name + own
    const builder = this.#at(base.time + (typeof t === 'number' ? t : 0))
    if (t !== undefined && typeof t !== 'number')
      builder.warn('TIME_INVALID', `${name}.t`, 'must be a number of seconds')
    if (n !== undefined && n !== null && !isScalar(n))
      builder.warn('NAME_INVALID', `${name}.n`, 'is left out: it must be a string')
    warnOfUnknown(builder, record, name)
    // Section 4.4 forbids to go on with a record that has a label of this kind.
    if (Object.keys(record).some((label) => label.endsWith('_') && !isSecretName(label))) return
    const field = addValues(builder, record, base, name)
    if (field === undefined) return
    describeField(builder, `unit.${field}`, u ?? base.unit, `${name}.u`)
    describeField(builder, `ut.${field}`, ut, `${name}.ut`)
    if (this.#oneBase && base.name !== '') describeField(builder, 'bn', base.name, 'bn')
  }

  #at(seconds: number): ReadingBuilder {
    let builder = this.#builders.get(seconds)
    if (builder === undefined) {
      builder = new ReadingBuilder(this.#builders.size, this.#subtopic)
      this.#builders.set(seconds, builder)
    }
    return builder
  }
}

/** The readings of a pack, by their times in seconds, in the order in which the pack names them first. */
export function resolveSenml(
  records: readonly unknown[],
  arrival: Arrival,
): ReadonlyMap<number, ReadingBuilder> {
  const objects = records.filter(isObject)
  const pack = new Pack(objects, arrival.subtopic)
  for (const record of objects) pack.add(record)
  return pack.readings
}

/** The time of a reading of a pack, ns since the epoch, or why it is refused. */
export function senmlTime(
  builder: ReadingBuilder,
  seconds: number,
  arrival: Arrival,
  place: Place,
): bigint | TooOld {
  const { receivedAt, messageId } = arrival
  // The message's own digits below the millisecond keep readings apart that were all made now.
  const time =
    seconds < relativeBelow
      ? arrivalTime(receivedAt + Math.round(Math.max(seconds, -1e12) * 1000), messageId, place.index)
      : parseTime(seconds)
  const named = { path: 't', value: seconds }
  return believe(builder, { ...named, time: time ?? 2n ** 63n }, arrival, place)
}
