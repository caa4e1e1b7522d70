/** The service of telemetry: from a message to durable readings, and back by query. */
import { AppError, type ErrorDetail } from '../errors.ts'
import type { Account, Delivery, Intake, SpoolState } from './intake.ts'
import { type Arrival, type Parsed, type ParsedReading, parsePayload } from './payload.ts'
import type { Reading, Rejection } from './reading.ts'
import type { Aggregate, AggregateQuery, HistoryQuery, Latest, TelemetryStore, TimeRange } from './store.ts'

/** Who sent it, with the tags that are stored with each reading. */
export interface Sender {
  readonly id: number
  readonly deviceType: string
  readonly location: string | null
}

export interface Accepted {
  /** Readings that must not be sent again: stored, spooled or duplicates. */
  readonly accepted: number
  /** Of these, spooled until the store is back. */
  readonly queued: number
  /** Of these, recognised as sent before. */
  readonly duplicates: number
  readonly rejected: readonly Rejection[]
  /** Nanoseconds since the epoch: the newest accepted reading. */
  readonly time: bigint
}

export interface Page {
  readonly readings: readonly Reading[]
  /** Continues behind the last reading; undefined when there are no more. */
  readonly cursor: string | undefined
}

export interface MessageArrival extends Omit<Arrival, 'retentionMs'> {
  /** The sender's own word for this message: the same within 24 h is the same message. */
  readonly idempotencyKey?: string | undefined
  /** It comes out of a spool, and what cannot be stored stays there. */
  readonly spooled?: boolean | undefined
}

/** What of a dead letter a replay goes by: our record, and the payload only for its values. */
export interface Letter extends Omit<Arrival, 'retentionMs'> {
  readonly id: number
  readonly body: unknown
  readonly indexes: readonly number[] | undefined
}

export interface Telemetry {
  /**
   * Takes one message; resolves when its good readings are durable.
   * @throws {AppError} VALIDATION_FAILED or TOO_OLD when none is good, UNAVAILABLE when it could not be stored.
   */
  ingest(sender: Sender, body: unknown, arrival: MessageArrival): Promise<Accepted>
  /** Stores what waited in a spool outside of the stores. @throws {AppError} UNAVAILABLE */
  restore(delivery: Delivery): Promise<void>
  /**
   * Takes the readings of a dead letter that are good now, with the device and the arrival of the letter. Its own account,
   * as rejected, is moved; again for the same letter changes nothing.
   * @param letter.indexes only these readings of the message; undefined for all.
   * @throws {AppError} VALIDATION_FAILED or TOO_OLD when none is good, UNAVAILABLE.
   */
  replay(sender: Sender, letter: Letter): Promise<Accepted>
  /** Moves what was counted for a letter to what became of it, once. @param resolved readings it no longer stands for. */
  settleReplay(deviceId: number, resolved: number): Promise<void>
  /** Takes what waits for the store out of the spool. */
  dropSpooled(deviceId: number): Promise<void>
  /** Counts a message that did not come so far as to be parsed; resolves also when that is not possible. */
  countRefused(deviceId: number, receivedAt: number): Promise<void>
  /**
   * @param cursor of a page before, with the same order.
   * @param maxBytes the page ends before its answer is longer.
   * @param bytesOf what each reading, in order, adds to the answer; as JSON unless given.
   * @throws {AppError} VALIDATION_FAILED for a cursor that is none of ours.
   */
  history(
    query: HistoryQuery & {
      cursor?: string | undefined
      maxBytes: number
      bytesOf?: ((reading: Reading) => number) | undefined
    },
  ): Promise<Page>
  latest(deviceId: number): Promise<Latest | undefined>
  /** @throws {AppError} VALIDATION_FAILED for more than 10,000 windows. */
  aggregate(query: AggregateQuery): Promise<Aggregate[]>
  /** Deletes the readings of a range, those in the spool too. */
  remove(deviceId: number, range: TimeRange): Promise<void>
  /** Of one device, or of all. */
  account(deviceId?: number): Promise<Account>
  /** Undefined where there is no spool. */
  spool(): Promise<SpoolState | undefined>
  count(deviceId: number): Promise<number>
  countDevices(): Promise<number>
  /** @param from nanoseconds since the epoch. */
  countSince(from: bigint): Promise<number>
  /** @throws {unknown} when the store cannot be used. */
  check(): Promise<void>
  /** Whether readings are taken while the store is away. */
  keeps(): Promise<boolean>
  readonly backend: TelemetryStore['backend']
}

/** Readings fetched at once: what the event loop has to unpack in one turn. */
const pageSize = 1000
const maxWindows = 10_000n

const invalid = (path: string, message: string) =>
  new AppError('VALIDATION_FAILED', `${path} ${message}.`, { details: [{ path, message }] })

const toDetails = (rejected: readonly Rejection[], batch: boolean): ErrorDetail[] =>
  rejected
    .flatMap(({ index, details, message }) => {
      const inItem = details.length > 0 ? details : [{ path: '', message }]
      return inItem.map((d) => ({
        path: batch ? `[${index}]${d.path && '.'}${d.path}` : d.path,
        message: d.message,
      }))
    })
    .slice(0, 100)

const refusal = (rejected: readonly Rejection[], batch: boolean): AppError => {
  const [first] = rejected
  const code = rejected.every((rejection) => rejection.code === 'TOO_OLD') ? 'TOO_OLD' : 'VALIDATION_FAILED'
  const message = batch
    ? 'No reading of the batch could be accepted.'
    : (first?.message ?? 'The reading is not valid.')
  return new AppError(code, message, { details: toDetails(rejected, batch) })
}

/** The last reading of a page: `t` and its nanoseconds since the epoch. */
export const cursorPattern = /^t(?:[0-9]{1,18}|[1-8][0-9]{18})$/
const encodeCursor = (time: bigint) => `t${time}`
const decodeCursor = (cursor: string): bigint => {
  if (!cursorPattern.test(cursor)) throw invalid('cursor', 'is not one that this query gave')
  return BigInt(cursor.slice(1))
}

const jsonBytes = ({ fields, metadata }: Reading) =>
  Buffer.byteLength(JSON.stringify(fields)) +
  (metadata ? Buffer.byteLength(JSON.stringify(metadata)) : 0) +
  64

/** What recognises each reading of a message when it comes again; undefined when nothing does. */
const keysOf = (readings: readonly ParsedReading[], idempotencyKey: string | undefined) => {
  if (idempotencyKey === undefined && readings.every(({ messageId }) => messageId === undefined))
    return undefined
  return readings.map(({ index, messageId }) => {
    if (messageId !== undefined) return `m:${messageId}`
    return idempotencyKey === undefined ? undefined : `h:${index}:${idempotencyKey}`
  })
}

export interface TelemetryOptions {
  store: TelemetryStore
  /** Asked for by what changes or counts telemetry only. */
  intake: () => Promise<Intake>
  /** For what comes out of a spool, and must not go back there. */
  directIntake: () => Promise<Intake>
  /** 0 keeps telemetry for ever. */
  retentionMs: number
}

export function createTelemetry({ store, intake, directIntake, retentionMs }: TelemetryOptions): Telemetry {
  const countRefused = async (deviceId: number, receivedAt: number, rejected: number) => {
    const nothing = { deviceId, receivedAt, deviceType: '', location: null, readings: [] }
    try {
      await (await intake()).take({ ...nothing, rejected })
    } catch (error) {
      // The refusal stands without its count; neither side of the account has it then.
      if (!(error instanceof AppError)) throw error
    }
  }

  /** @throws {unknown} the error, after the count of what it refuses. */
  const refuse = async (deviceId: number, receivedAt: number, rejected: number, error: unknown) => {
    if (error instanceof AppError) await countRefused(deviceId, receivedAt, rejected)
    throw error
  }

  const deliveryOf = (
    sender: Sender,
    { readings }: Parsed,
    receivedAt: number,
    { keys, rejected }: Pick<Delivery, 'keys' | 'rejected'>,
  ): Delivery => ({
    deviceId: sender.id,
    deviceType: sender.deviceType,
    location: sender.location,
    receivedAt,
    readings: readings.map(({ reading }) => reading),
    keys,
    rejected,
  })

  /** While it waits nothing of the readings is held here: of a flood it would be the most of what fills the memory. */
  const deliver = (into: Intake, delivery: Delivery, rejected: Parsed['rejected']): Promise<Accepted> => {
    let time = 0n
    for (const reading of delivery.readings) if (reading.time > time) time = reading.time
    const accepted = delivery.readings.length
    return into
      .take(delivery)
      .then(({ queued, duplicates }) => ({ accepted, queued, duplicates, rejected, time }))
  }

  /** The intake once it is there: what every message goes through waits for nothing that it has already. */
  let usual: Intake | undefined
  const deliverTo = async (open: () => Promise<Intake>, delivery: Delivery, rejected: Parsed['rejected']) => {
    const into = await open()
    if (open === intake) usual = into
    return deliver(into, delivery, rejected)
  }

  return {
    backend: store.backend,
    latest: (deviceId) => store.latest(deviceId),
    count: (deviceId) => store.count(deviceId),
    countDevices: async () => (await store.devices()).length,
    countSince: (from) => store.countSince(from),
    check: () => store.check(),
    keeps: async () => (await intake()).keeps(),
    countRefused: (deviceId, receivedAt) => countRefused(deviceId, receivedAt, 1),
    account: async (deviceId) => (await intake()).account(deviceId),
    spool: async () => (await intake()).spool(),

    async dropSpooled(deviceId) {
      await (await intake()).dropSpooled(deviceId, { from: 0n, to: 2n ** 63n - 1n })
    },

    async remove(deviceId, range) {
      await (await intake()).dropSpooled(deviceId, range)
      await store.remove(deviceId, range)
    },

    ingest(sender, body, { receivedAt, messageId, subtopic, idempotencyKey, spooled = false }) {
      let parsed: Parsed
      try {
        parsed = parsePayload(body, { receivedAt, messageId, subtopic, retentionMs })
      } catch (error) {
        return refuse(sender.id, receivedAt, 1, error)
      }
      const { readings, rejected, batch } = parsed
      if (readings.length === 0)
        return refuse(sender.id, receivedAt, rejected.length, refusal(rejected, batch))
      const keys = keysOf(readings, idempotencyKey)
      const delivery = deliveryOf(sender, parsed, receivedAt, { keys, rejected: rejected.length })
      if (spooled) return deliverTo(directIntake, delivery, rejected)
      return usual === undefined ? deliverTo(intake, delivery, rejected) : deliver(usual, delivery, rejected)
    },

    async replay(sender, { id, body, indexes, ...arrival }) {
      const all = parsePayload(body, { ...arrival, retentionMs })
      const wanted = ({ index }: { index: number }) => indexes === undefined || indexes.includes(index)
      const parsed = {
        ...all,
        readings: all.readings.filter(wanted),
        rejected: all.rejected.filter(wanted),
      }
      if (parsed.readings.length === 0) throw refusal(parsed.rejected, parsed.batch)
      const own = parsed.readings.every(({ messageId }) => messageId === undefined)
      const into = await intake()
      const delivery = deliveryOf(sender, parsed, arrival.receivedAt, {
        // By its own id a reading is the same one that the device sends again.
        keys: parsed.readings.map(({ index, messageId }) =>
          messageId === undefined ? `d:${index}:${id}` : `m:${messageId}`,
        ),
        // Of a letter for single readings the others are counted already.
        rejected: indexes === undefined ? parsed.rejected.length : 0,
      })
      const taken = await deliver(into, delivery, parsed.rejected)
      // Another replay of the letter, and nothing that was received again.
      const again = own ? taken.duplicates : 0
      if (again > 0) await into.count({ deviceId: sender.id, received: -again, duplicates: -again })
      return taken
    },

    async restore(delivery) {
      await (await directIntake()).take(delivery)
    },

    async settleReplay(deviceId, resolved) {
      await (await intake()).count({ deviceId, received: -resolved, rejected: -resolved })
    },

    async history({ cursor, maxBytes, bytesOf = jsonBytes, ...query }) {
      let { from, to } = query
      if (cursor !== undefined) {
        const at = decodeCursor(cursor)
        if (query.order === 'desc' && at < to) to = at
        if (query.order === 'asc' && at >= from) from = at + 1n
      }
      const readings: Reading[] = []
      let bytes = 0
      while (readings.length < query.limit) {
        const limit = Math.min(pageSize, query.limit - readings.length)
        const page = await store.history({ ...query, from, to, limit })
        for (const reading of page) {
          bytes += bytesOf(reading)
          const before = readings.at(-1)
          if (bytes > maxBytes && before) return { readings, cursor: encodeCursor(before.time) }
          readings.push(reading)
        }
        const last = readings.at(-1)
        if (page.length < limit || last === undefined) return { readings, cursor: undefined }
        if (query.order === 'desc') to = last.time
        else from = last.time + 1n
      }
      const last = readings.at(-1)
      const [more] = last === undefined ? [] : await store.history({ ...query, from, to, limit: 1 })
      return { readings, cursor: more && last ? encodeCursor(last.time) : undefined }
    },

    aggregate(query) {
      const { from, to, window } = query
      if (to > from && (to - 1n) / window - from / window + 1n > maxWindows) {
        throw invalid('window', `makes more than ${maxWindows} windows of this range`)
      }
      return store.aggregate(query)
    },
  }
}
