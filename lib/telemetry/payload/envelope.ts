/** Finds where the values of a message stand: its readings, and within a reading the object that holds its fields. */
import { fieldName, isReserved } from './names.ts'
import { isObject, type Json, type ReadingBuilder, type Source } from './values.ts'

type Envelope = 'data' | 'measurements' | 'values'

const inEnvelope: Readonly<Record<Envelope, Source>> = {
  data: { path: 'data.', strings: 'field' },
  measurements: { path: 'measurements.', strings: 'field' },
  values: { path: 'values.', strings: 'field' },
}
const flat: Source = { path: '', strings: 'field' }
/** Strings beside the values say something about them: the name of a gateway, a unit. */
const beside: Source = { path: '', strings: 'metadata' }

/** Whether the values of an object are all in one, and what stands beside it is only about the reading. */
const standsAlone = (item: Json, envelope: Envelope): boolean => {
  for (const key in item) {
    if (key === envelope || item[key] === null) continue
    const name = fieldName(key)?.name
    if (name !== undefined && !isReserved(name)) return false
  }
  return true
}

const envelopeOf = (item: Json): Envelope | undefined => {
  if (isObject(item.data)) return 'data'
  if (isObject(item.measurements)) return 'measurements'
  return isObject(item.values) && standsAlone(item, 'values') ? 'values' : undefined
}

/** Adds the values of an item: those of its envelope, which go first, and those beside it. */
export function addItem(builder: ReadingBuilder, item: Json): void {
  const envelope = envelopeOf(item)
  if (envelope === undefined) builder.addValues(item, flat)
  else {
    builder.addValues(item[envelope] as Json, inEnvelope[envelope])
    builder.addValues(item, beside, envelope)
  }
}

/** Adds what stands beside the list of a batch: a reading of its own, and metadata. */
export function addBesideBatch(builder: ReadingBuilder, body: Json): void {
  const { batch: _, ...rest } = body
  if (envelopeOf(rest) === undefined) builder.addValues(rest, beside)
  else addItem(builder, rest)
}

/** The items of a batch; undefined for a message that is one reading. A list of numbers is a field like any other. */
export function batchOf(body: unknown): readonly unknown[] | undefined {
  if (Array.isArray(body)) return body
  if (!isObject(body) || !Array.isArray(body.batch)) return undefined
  const isBatch = body.batch.length === 0 ? Object.keys(body).length === 1 : body.batch.some(isObject)
  return isBatch ? body.batch : undefined
}
