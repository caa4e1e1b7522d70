/**
 * Parses a message into readings, the same over HTTP and MQTT, in stages: `envelope` finds where the values stand, `names` says
 * under which names they are stored, `values` which are kept, and `reading-time` when they were taken.
 * A reading is kept when any value of it can be kept; warnings say what was left out or changed.
 */
import { AppError } from '../../errors.ts'
import { decodeText, parseJson, withoutPadding } from '../../json.ts'
import type { Reading, Rejection, Warning } from '../reading.ts'
import type { Arrival } from './arrival.ts'
import { addBesideBatch, addItem, batchOf } from './envelope.ts'
import { type Place, resolveTime, type TooOld } from './reading-time.ts'
import { isSenml, resolveSenml, senmlTime } from './senml.ts'
import { isObject, type Json, ReadingBuilder } from './values.ts'

export interface Decoded {
  /** Any value of JSON. */
  readonly body: unknown
  /** Whether bytes that are not UTF-8 became U+FFFD, here or on the way. */
  readonly invalidUtf8: boolean
}

/**
 * The JSON of a message with telemetry. A byte order mark, and NULs and blanks at the end, are ignored.
 * @throws {AppError} MALFORMED_JSON for bytes that are empty or not JSON.
 */
export function decodePayload(bytes: Uint8Array): Decoded {
  const text = decodeText(withoutPadding(bytes))
  // API Gateway hands over JSON as text, in which it has replaced such bytes already.
  return { body: parseJson(text), invalidUtf8: text.includes('\uFFFD') }
}

export interface ParsedReading {
  /** Position in the message, from 0. What stands beside a batch comes after its last item. */
  readonly index: number
  readonly reading: Reading
  /** The device's own id of the reading. */
  readonly messageId: string | undefined
}

export interface Parsed {
  readonly readings: readonly ParsedReading[]
  readonly rejected: readonly Rejection[]
  /** What was left out or changed in the readings that are kept, at most 51 for each. */
  readonly warnings: readonly Warning[]
  /** False when the message was one reading and no list. */
  readonly batch: boolean
}

export const maxBatch = 1000

const none: readonly Warning[] = []

const rejection = (
  index: number,
  what: string,
  details: Rejection['details'],
  code: Rejection['code'] = 'VALIDATION_FAILED',
): Rejection => {
  const [first] = details
  const more = details.length - 1
  const reason = first === undefined ? '' : `: ${first.path ? `${first.path} ` : ''}${first.message}`
  const others = more > 0 ? `, and ${more} more ${more === 1 ? 'problem' : 'problems'}` : ''
  return {
    index,
    code,
    message: `The reading ${what}${reason}${others}.`,
    details: details.length === 0 ? [{ path: '', message: what }] : details,
  }
}

/** Collects what becomes of the readings of one message. */
class Results {
  readonly readings: ParsedReading[] = []
  readonly rejected: Rejection[] = []
  #warnings: Warning[] | undefined

  get warnings(): readonly Warning[] {
    return this.#warnings ?? none
  }

  /** Adds a reading with its time, or rejects it. */
  add(builder: ReadingBuilder, index: number, time: bigint | TooOld, messageId = builder.messageId): void {
    const warnings = builder.warnings()
    if (builder.fieldCount === 0) {
      const reasons = warnings?.map(({ path, message }) => ({ path, message })) ?? []
      this.rejected.push(rejection(index, 'has no value to store', reasons))
    } else if (typeof time !== 'bigint') this.rejected.push(rejection(index, 'is too old', [time], 'TOO_OLD'))
    else {
      const { fields, metadata } = builder
      this.readings.push({ index, reading: { time, fields, metadata }, messageId })
      this.warn(warnings)
    }
  }

  reject(index: number, why: string): void {
    this.rejected.push(rejection(index, why, []))
  }

  warn(warnings: readonly Warning[] | undefined): void {
    if (warnings === undefined) return
    this.#warnings ??= []
    this.#warnings.push(...warnings)
  }
}

const tooLong = (path: string, readings: number) => {
  const message = `has ${readings} readings: at most ${maxBatch} are taken at once`
  return new AppError('BATCH_TOO_LONG', `${path || 'The body'} ${message}.`, { details: [{ path, message }] })
}

const messageError = (path: string, message: string) =>
  new AppError('VALIDATION_FAILED', `${path || 'The body'} ${message}.`, { details: [{ path, message }] })

const addBatchItem = (
  results: Results,
  item: unknown,
  place: Place,
  arrival: Arrival,
  beside: ReadingBuilder | undefined,
): void => {
  const { index } = place
  if (Array.isArray(item) || batchOf(item) !== undefined) {
    results.reject(index, 'is a batch inside a batch')
    return
  }
  if (!isObject(item)) {
    results.reject(index, 'must be an object')
    return
  }
  const builder = new ReadingBuilder(index, arrival.subtopic)
  addItem(builder, item)
  const time = resolveTime(builder, arrival, place)
  if (beside?.metadata) builder.addMissingMetadata(beside.metadata)
  const id = beside?.messageId
  const ofBatch = id === undefined ? undefined : `batch:${index}:${id}`
  results.add(builder, index, time, builder.messageId ?? ofBatch)
}

/** Adds what stands beside a list: a reading of its own where it has fields, and metadata of every reading. */
const addBeside = (results: Results, body: Json, index: number): ReadingBuilder => {
  const builder = new ReadingBuilder(index, undefined)
  addBesideBatch(builder, body)
  if (builder.fieldCount === 0) {
    // These times are not those of the readings: two readings at one time would be one.
    for (const candidate of builder.times ?? []) builder.keepTime(candidate)
    results.warn(builder.warnings())
  }
  return builder
}

const parseBatch = (list: readonly unknown[], body: unknown, arrival: Arrival, results: Results): void => {
  const path = Array.isArray(body) ? '' : 'batch'
  if (list.length === 0) throw messageError(path, 'is an empty list')
  if (list.length > maxBatch) throw tooLong(path, list.length)
  const end = list.length
  const beside = isObject(body) ? addBeside(results, body, end) : undefined
  for (const [index, item] of list.entries())
    addBatchItem(results, item, { index, inBatch: true }, arrival, beside)
  if (beside === undefined || beside.fieldCount === 0) return
  const id = beside.messageId
  const time = resolveTime(beside, arrival, { index: end, inBatch: true })
  results.add(beside, end, time, id === undefined ? undefined : `batch:${end}:${id}`)
}

const parseSenml = (records: readonly unknown[], arrival: Arrival, results: Results): void => {
  const readings = resolveSenml(records, arrival)
  if (readings.size === 0) throw messageError('', 'has no record of SenML')
  if (readings.size > maxBatch) throw tooLong('', readings.size)
  let index = 0
  for (const [seconds, builder] of readings) {
    const place = { index, inBatch: readings.size > 1 }
    results.add(builder, index, senmlTime(builder, seconds, arrival, place))
    index += 1
  }
}

const parseInto = (results: Results, body: unknown, arrival: Arrival): boolean => {
  const records = arrival.senml && isObject(body) ? [body] : body
  if (Array.isArray(records) && (arrival.senml || isSenml(records))) {
    parseSenml(records, arrival, results)
    return Array.isArray(body)
  }
  const list = batchOf(body)
  if (list !== undefined) {
    parseBatch(list, body, arrival, results)
    return true
  }
  if (!isObject(body)) throw messageError('', 'must be an object, or an array of them')
  const builder = new ReadingBuilder(0, arrival.subtopic)
  addItem(builder, body)
  results.add(builder, 0, resolveTime(builder, arrival, { index: 0, inBatch: false }))
  return false
}

/**
 * Parses a message. A reading without any value that can be kept is rejected with every reason.
 * @param body any value of JSON.
 * @throws {AppError} BATCH_TOO_LONG for more than 1000 readings, VALIDATION_FAILED for no object or list, or an empty list.
 */
export function parsePayload(body: unknown, arrival: Arrival): Parsed {
  const results = new Results()
  const batch = parseInto(results, body, arrival)
  const { readings, rejected, warnings } = results
  const [first] = readings
  if (!arrival.invalidUtf8 || first === undefined) return { readings, rejected, warnings, batch }
  const message = 'has bytes that are not UTF-8: they are taken as U+FFFD'
  const replaced: Warning = { index: first.index, path: '', code: 'INVALID_UTF8', message }
  return { readings, rejected, warnings: [replaced, ...warnings], batch }
}

/** Writes readings as a message that parses to the same readings. */
export const payloadOf = (readings: readonly Reading[]): string =>
  JSON.stringify(
    readings.map(({ time, fields, metadata }) => ({
      timestamp: String(time),
      data: fields,
      ...(metadata && { metadata }),
    })),
  )
