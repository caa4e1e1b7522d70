/** From one message to readings: every shape, name, value and time that devices may send, the same over HTTP and MQTT. */
import { AppError } from '../errors.ts'
import type { FieldValue, Reading, Rejection } from './reading.ts'
import { parseTime } from './time.ts'

export interface Arrival {
  /** Milliseconds since the epoch, fixed before the first try to store. */
  readonly receivedAt: number
  /** The same for every try of one message; see {@link arrivalTime}. */
  readonly messageId: string
  /** What follows `telemetry/` in the topic; stored as metadata. */
  readonly subtopic?: string | undefined
  /** Readings older than this are refused; 0 takes all. */
  readonly retentionMs: number
}

export interface ParsedReading {
  /** Position in the message, from 0. */
  readonly index: number
  readonly reading: Reading
  /** The id by which the device itself knows it. */
  readonly messageId: string | undefined
}

export interface Parsed {
  readonly readings: readonly ParsedReading[]
  readonly rejected: readonly Rejection[]
  /** False when the message was one reading and no list. */
  readonly batch: boolean
}

type Json = Readonly<Record<string, unknown>>
type Details = { path: string; message: string }[]

export const maxBatch = 1000
export const maxFields = 256
export const maxMetadata = 32
export const maxNameLength = 128
/** Bytes of UTF-8. */
export const maxStringBytes = 4096
export const maxMessageIdLength = 128
export const maxDepth = 16
/** Problems named per reading; the rest is counted. */
const maxDetails = 50
const futureMs = 86_400_000
const earliest = BigInt(Date.UTC(2000, 0, 1)) * 1_000_000n
const nsPerMs = 1_000_000n

/** Of a field, the dots of nested objects included, or of an entry of the metadata. */
export const validName = /^[A-Za-z0-9.:-][A-Za-z0-9_.:-]{0,127}$/
/** Names that no field may have; those that begin with `meta_` are reserved too. */
export const reserved: ReadonlySet<string> = new Set([
  'timestamp',
  'ts',
  'time',
  'age_ms',
  'received_at',
  'metadata',
  'device_id',
  'device_type',
  'location',
  'api_key',
])
const isReserved = (name: string) => reserved.has(name) || name.startsWith('meta_')
/** In a flat body the id of the message stands between the readings. */
const isAboutMessage = (name: string, onReserved: Walk['onReserved']) =>
  isReserved(name) || (onReserved === 'drop' && name === 'message_id')
/** A key inside an object inside the values: its value must not be stored either. */
const holdsKey = (name: string) => name.endsWith('.api_key')

/** Names under which devices send their own key: its value is stored nowhere. */
export const isSecretName = (name: string): boolean => name === 'api_key' || holdsKey(name)

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const nameRule = `must have 1 to ${maxNameLength} letters, digits, _ . - : and not begin with _`

/** A name as an answer may show it. */
const shown = (name: string) => (name.length > maxNameLength ? `${name.slice(0, maxNameLength)}…` : name)

/** What is wrong with a string, if anything. */
const stringFault = (text: string): string | undefined => {
  if (
    text.length > maxStringBytes ||
    (text.length * 3 > maxStringBytes && Buffer.byteLength(text) > maxStringBytes)
  )
    return `must have at most ${maxStringBytes} bytes`
  return text.isWellFormed() ? undefined : 'must be valid Unicode'
}

interface Walk {
  fields: Record<string, FieldValue>
  readonly details: Details
  /** In front of a name in the details: `data.`, `values.` or nothing. */
  readonly at: string
  readonly onReserved: 'refuse' | 'drop'
  /** Fields found, refused ones too. */
  count: number
}

const refuseField = ({ details, at }: Walk, name: string, message: string): void => {
  details.push({ path: at + shown(name), message })
}

/** Names that any field may have: devices send the same ones again and again. */
const goodNames = new Set<string>()
const maxGoodNames = 1000
const isGoodName = (name: string): boolean => {
  if (goodNames.has(name)) return true
  if (!validName.test(name) || isAboutMessage(name, 'drop') || holdsKey(name)) return false
  if (goodNames.size >= maxGoodNames) goodNames.clear()
  goodNames.add(name)
  return true
}

const take = (walk: Walk, name: string, value: unknown): void => {
  walk.count += 1
  if (!isGoodName(name) && !validName.test(name)) refuseField(walk, name, nameRule)
  else if (Object.hasOwn(walk.fields, name)) refuseField(walk, name, 'is given twice, nested and with a dot')
  else if (typeof value === 'number') {
    if (!Number.isFinite(value)) refuseField(walk, name, 'must be a finite number')
    // JSON has a negative zero, and no store keeps it.
    else walk.fields[name] = value === 0 ? 0 : value
  } else if (typeof value === 'boolean') walk.fields[name] = value
  else if (typeof value === 'string') {
    const fault = stringFault(value)
    if (fault === undefined) walk.fields[name] = value
    else refuseField(walk, name, fault)
  } else
    refuseField(walk, name, 'is an array: only numbers, booleans, strings and objects of them are stored')
}

/** Refuses what {@link take} has not counted. */
const refuseUncounted = (walk: Walk, name: string, message: string): void => {
  walk.count += 1
  refuseField(walk, name, message)
}

/** Adds the values of an object to the reading, nested ones as `a.b`; ends early when there are too many. */
const flatten = (walk: Walk, values: Json, prefix: string, depth: number): void => {
  for (const key in values) {
    if (walk.count > maxFields) return
    const value = values[key]
    if (value === null) continue
    const name = prefix + key
    if (!isGoodName(name) && (isAboutMessage(name, walk.onReserved) || holdsKey(name))) {
      if (walk.onReserved === 'refuse') refuseUncounted(walk, name, 'is a reserved name')
    } else if (!isObject(value)) take(walk, name, value)
    else if (name.length > maxNameLength) refuseUncounted(walk, name, nameRule)
    else if (depth === maxDepth) refuseUncounted(walk, name, `is nested deeper than ${maxDepth} levels`)
    else flatten(walk, value, `${name}.`, depth + 1)
  }
}

/** The object that holds the readings of an item: named by its shape, or the item itself. */
const valuesOf = (item: Json, details: Details): Pick<Walk, 'at' | 'onReserved'> & { values: unknown } => {
  const [data, measurements] = [item.data, item.measurements]
  if (data !== undefined && measurements !== undefined) {
    details.push({ path: 'measurements', message: 'is another name for data: only one of them may be given' })
  }
  if (data !== undefined) return { values: data, at: 'data.', onReserved: 'refuse' }
  if (measurements !== undefined) return { values: measurements, at: 'measurements.', onReserved: 'refuse' }
  if (
    isObject(item.values) &&
    Object.keys(item).every((key) => key === 'values' || isAboutMessage(key, 'drop'))
  )
    return { values: item.values, at: 'values.', onReserved: 'refuse' }
  return { values: item, at: '', onReserved: 'drop' }
}

/** What is wrong with an entry of the metadata, if anything. */
const metadataFault = (key: string, value: unknown): string | undefined => {
  if (!validName.test(key)) return nameRule
  if (typeof value === 'object') return 'must be a number, a boolean or a string'
  if (typeof value === 'number' && !Number.isFinite(value)) return 'must be a finite number'
  return stringFault(String(value))
}

const metadataOf = (given: unknown, subtopic: string | undefined, details: Details) => {
  const metadata: Record<string, string> = {}
  let count = 0
  if (given !== undefined && given !== null) {
    if (!isObject(given)) details.push({ path: 'metadata', message: 'must be an object' })
    else {
      for (const key in given) {
        const value = given[key]
        if (value === null || isSecretName(key)) continue
        count += 1
        if (count > maxMetadata) {
          details.push({ path: 'metadata', message: `has more than ${maxMetadata} entries` })
          break
        }
        const fault = metadataFault(key, value)
        if (fault === undefined) metadata[key] = String(value)
        else details.push({ path: `metadata.${shown(key)}`, message: fault })
      }
    }
  }
  if (subtopic !== undefined) metadata.subtopic = subtopic
  else if (count === 0) return undefined
  return metadata
}

/** A reading has one of them, or the time of its arrival. */
export const timeKeys = ['timestamp', 'ts', 'time', 'age_ms'] as const

/** What the digits of a message's id are worth: the last eight if they are hexadecimal, else an FNV-1a hash of it. */
const seedOf = (messageId: string): number => {
  const tail = messageId.slice(-8)
  if (/^[0-9a-f]{8}$/i.test(tail)) return Number.parseInt(tail, 16)
  let hash = 0x811c9dc5
  for (let i = 0; i < messageId.length; i += 1) {
    hash = Math.imul(hash ^ messageId.charCodeAt(i), 0x01000193) >>> 0
  }
  return hash
}

/**
 * When a reading without a time was taken: the millisecond of its arrival, and below it a number made of the message's
 * id and its index. 250 messages with ids that follow each other, of 1000 readings each, share no instant.
 */
export function arrivalTime(receivedAt: number, messageId: string, index: number): bigint {
  return BigInt(receivedAt) * nsPerMs + BigInt((seedOf(messageId) + 4001 * index) % 1_000_000)
}

/** Which of the item's keys says when it was taken; undefined where none does. */
const timeKeyOf = (item: Json, details: Details): (typeof timeKeys)[number] | undefined => {
  let found: (typeof timeKeys)[number] | undefined
  for (const key of timeKeys) {
    if (item[key] === undefined || item[key] === null) continue
    if (found !== undefined) details.push({ path: key, message: `is a second time beside ${found}` })
    else found = key
  }
  return found
}

/** Undefined where the value names no time. */
const timeOf = (
  item: Json,
  key: (typeof timeKeys)[number],
  index: number,
  { receivedAt, messageId }: Arrival,
  details: Details,
): bigint | undefined => {
  if (key === 'age_ms') {
    const age = item.age_ms
    if (typeof age === 'number' && age >= 0 && age <= receivedAt)
      return arrivalTime(receivedAt - Math.round(age), messageId, index)
    details.push({ path: key, message: 'must be milliseconds, 0 or more' })
    return undefined
  }
  const time = parseTime(item[key])
  if (time === undefined) {
    details.push({
      path: key,
      message: 'must be a time in ISO 8601, or an epoch in s, ms or µs, as a string in ns too',
    })
  }
  return time
}

const messageIdOf = ({ message_id: id }: Json, details: Details): string | undefined => {
  if (id === undefined || id === null) return undefined
  // A larger number has lost its last digits: two messages would be one.
  if (typeof id === 'number' && Number.isSafeInteger(id)) return String(id)
  if (typeof id === 'string' && id !== '' && id.length <= maxMessageIdLength && id.isWellFormed()) return id
  details.push({
    path: 'message_id',
    message: `must be a string of 1 to ${maxMessageIdLength} characters, or a whole number up to 2^53 - 1`,
  })
  return undefined
}

const reject = (
  index: number,
  details: Details,
  code: Rejection['code'] = 'VALIDATION_FAILED',
): Rejection => {
  const [first] = details
  const more = details.length - 1
  const named = details.slice(0, maxDetails)
  if (details.length > maxDetails)
    named.push({ path: '', message: `and ${details.length - maxDetails} more problems` })
  const subject = first?.path ? `${first.path} ` : 'The reading '
  const message = `${subject}${first?.message}${more > 0 ? `, and ${more} more ${more === 1 ? 'problem' : 'problems'}` : ''}.`
  return { index, code, message, details: named }
}

const parseItem = (item: unknown, index: number, arrival: Arrival): ParsedReading | Rejection => {
  const details: Details = []
  if (Array.isArray(item) || (isObject(item) && Array.isArray(item.batch)))
    return reject(index, [{ path: '', message: 'is a batch inside a batch' }])
  if (!isObject(item)) return reject(index, [{ path: '', message: 'must be an object' }])

  const { values, at, onReserved } = valuesOf(item, details)
  const walk: Walk = { fields: {}, details, at, onReserved, count: 0 }
  if (!isObject(values)) details.push({ path: at.slice(0, -1), message: 'must be an object of named values' })
  else {
    flatten(walk, values, '', 1)
    if (walk.count > maxFields)
      details.push({ path: at.slice(0, -1), message: `has more than ${maxFields} fields` })
    else if (walk.count === 0) details.push({ path: at.slice(0, -1), message: 'has no value to store' })
  }
  const metadata = metadataOf(at === '' ? undefined : item.metadata, arrival.subtopic, details)
  const messageId = messageIdOf(item, details)
  const key = timeKeyOf(item, details)
  const { receivedAt, retentionMs } = arrival
  const given = key && timeOf(item, key, index, arrival, details)
  if (key !== undefined && given !== undefined) {
    if (given > BigInt(receivedAt + futureMs) * nsPerMs)
      details.push({ path: key, message: 'is more than 24 h in the future' })
    else if (given < earliest) details.push({ path: key, message: 'is before the year 2000' })
    else if (details.length === 0 && retentionMs > 0 && given < BigInt(receivedAt - retentionMs) * nsPerMs) {
      const days = Math.round(retentionMs / 86_400_000)
      return reject(
        index,
        [{ path: key, message: `is older than the ${days} days that telemetry is kept` }],
        'TOO_OLD',
      )
    }
  }
  if (details.length > 0) return reject(index, details)
  const time = given ?? arrivalTime(receivedAt, arrival.messageId, index)
  return { index, reading: { time, fields: walk.fields, metadata }, messageId }
}

const refuse = (path: string, message: string) =>
  new AppError('VALIDATION_FAILED', `${path || 'The body'} ${message}.`, { details: [{ path, message }] })

const sort = (result: ParsedReading | Rejection, readings: ParsedReading[], rejected: Rejection[]): void => {
  if ('reading' in result) readings.push(result)
  else rejected.push(result)
}

/**
 * Takes a message apart; a reading is accepted whole or refused with every reason.
 * @param body any value of JSON.
 * @throws {AppError} VALIDATION_FAILED when the message as a whole is none: no object or list, an empty or too long batch.
 */
export function parsePayload(body: unknown, arrival: Arrival): Parsed {
  const list = Array.isArray(body) ? body : isObject(body) ? body.batch : undefined
  const readings: ParsedReading[] = []
  const rejected: Rejection[] = []
  if (!Array.isArray(list)) {
    if (!isObject(body)) throw refuse('', 'must be an object, or an array of them')
    sort(parseItem(body, 0, arrival), readings, rejected)
    return { readings, rejected, batch: false }
  }
  const path = Array.isArray(body) ? '' : 'batch'
  if (isObject(body) && (body.data !== undefined || body.measurements !== undefined))
    throw refuse('batch', 'may not stand beside data')
  if (list.length === 0) throw refuse(path, 'is an empty list')
  if (list.length > maxBatch)
    throw refuse(path, `has ${list.length} readings: at most ${maxBatch} are taken at once`)
  const details: Details = []
  const id = isObject(body) ? messageIdOf(body, details) : undefined
  const [fault] = details
  if (fault) throw refuse(fault.path, fault.message)
  for (const [index, item] of list.entries()) sort(parseItem(item, index, arrival), readings, rejected)
  return {
    readings: readings.map((reading) =>
      id === undefined || reading.messageId !== undefined
        ? reading
        : { ...reading, messageId: `batch:${reading.index}:${id}` },
    ),
    rejected,
    batch: true,
  }
}

/** Readings as a message that parses to them again. */
export const payloadOf = (readings: readonly Reading[]): string =>
  JSON.stringify(
    readings.map(({ time, fields, metadata }) => ({
      timestamp: String(time),
      data: fields,
      ...(metadata && { metadata }),
    })),
  )
