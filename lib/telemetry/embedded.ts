/**
 * The embedded telemetry store on libSQL: a file, with one thread that writes in groups and one that reads, or the database
 * of a server.
 */
import { randomUUID } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { AppError } from '../errors.ts'
import type { Log } from '../log.ts'
import { openServer } from '../registry/server.ts'
import { answerOn, prepareTables } from './embedded-answers.ts'
import { maxJournaled } from './embedded-journal.ts'
import { lineOf } from './embedded-message.ts'
import {
  type AccountRow,
  type Ask,
  type Change,
  codeOf,
  type Lines,
  maxLatest,
  ofAll,
  onServer,
  type Read,
  reserved,
  type SpooledRow,
  type Written,
  waiting,
} from './embedded-sql.ts'
import type { Answer } from './embedded-worker.ts'
import type { Account, AccountChange, Delivery, Intake, Receipt, SpoolState } from './intake.ts'
import type { FieldValue, Reading } from './reading.ts'
import {
  maxAggregates,
  type TelemetryStore,
  type TimeRange,
  tooManyValues,
  type WriteEntry,
} from './store.ts'
import { createWriteQueue, unavailable } from './write-queue.ts'

export interface EmbeddedOptions {
  /** Path of the database file, its folder is made; or a server's URL with its token. */
  at: { file: string } | { url: string; authToken: string | undefined }
  log: Log
  /** 0 keeps readings for ever. */
  retentionMs: number
  /** Leaves a file as it is, which another process may be writing; every write is refused. */
  readOnly?: boolean
  /** Readings that may wait to be written, in all; beyond it a write is refused. */
  maxWaiting?: number
  /** Bytes that may wait to be written; beyond it a write is refused. */
  maxWaitingBytes?: number
  /** Queries that may wait for the reading thread. */
  maxQueries?: number
  pruneEveryMs?: number
  /** Milliseconds since the epoch. */
  now?: () => number
}

/** A message that waits in the spool. */
export interface Spooled {
  readonly id: number
  readonly entry: WriteEntry
}

/** The store, and what it keeps beside the readings in the same transactions: accounts, keys and the spool. */
export interface EmbeddedStore extends TelemetryStore {
  /**
   * Writes the readings, or spools them, and counts them. `lastId`: of the spool, everything of this message has at most
   * this id.
   * @throws {AppError} UNAVAILABLE
   */
  deliver(delivery: Delivery, into: 'readings' | 'spool'): Promise<Receipt & { lastId: number }>
  countIn(change: AccountChange): Promise<void>
  /**
   * Reserves keys for readings that are stored elsewhere, until they are noted or 24 h have passed.
   * @returns for each reading the time of the one its key was reserved for first; undefined where that was stored before.
   */
  reserveKeys(delivery: Delivery): Promise<(bigint | undefined)[]>
  /** Counts what became of a delivery whose readings are stored elsewhere, and notes the keys of the fresh ones. */
  note(delivery: Delivery, became: Became): Promise<Receipt>
  account(deviceId?: number): Promise<Account>
  lastArrival(): Promise<number>
  spoolState(): Promise<SpoolState>
  /** The oldest messages of the spool, at least one if there is any. */
  spooled(limits: { maxMessages: number; maxBytes: number }): Promise<Spooled[]>
  /**
   * Takes messages out of the spool; they count as stored from now on, and as rejected so many of their readings as
   * `rejected` says. What another process has settled before is not counted again.
   */
  settle(ids: readonly number[], rejected?: ReadonlyMap<number, number>): Promise<void>
  dropSpooled(deviceId: number, range: TimeRange): Promise<void>
  /** Remembers for 14 days that a range was deleted now: what waits elsewhere must not bring it back. */
  noteRemoved(deviceId: number, range: TimeRange): Promise<void>
  /** The ranges that were deleted at this time or later, ms since the epoch. */
  removedSince(deviceId: number, at: number): Promise<TimeRange[]>
}

/** What became of the readings of a delivery elsewhere. */
export interface Became {
  readonly stored: readonly { readonly key: string | undefined }[]
  readonly refused: readonly { readonly key: string | undefined }[]
  /** Recognised by keys that were noted before. */
  readonly duplicates: number
}

class StoreFault extends Error {
  override readonly name = 'StoreFault'
  readonly code: string
  constructor(code: string) {
    super(`telemetry store: ${code}`)
    this.code = code
  }
}

/** What was written so long ago still tells that more can be written: whoever asks does not cost a flush each, ms. */
const provenMs = 10_000

/** Groups that the writing thread may have before it, and messages that are worth a group of their own. */
const groupsAhead = 8
const atOnce = 32

/** How long a message waits in the journal when nobody asks for it: long enough for some more of its device, ms. */
const foldAfterMs = 1000

/** What is asked of the tables that the journal is folded into. */
const ofReadings: ReadonlySet<Read['op']> = new Set([
  'account',
  'lastArrival',
  'history',
  'latest',
  'scan',
  'countReadings',
  'sliceEnd',
  'devices',
  'countSince',
  'aggregate',
])

/** How long a key is remembered, ms. */
const keyMs = 86_400_000

/** How long a deletion is remembered: as long as a queue keeps anything, and some more, ms. */
const removedMs = 15 * 86_400_000

/** A connection that answers one thing after the other. */
interface Thread {
  ask(ask: Ask): Promise<unknown>
  ended: Promise<void>
}

/** What a thread makes is short-lived and small: with the room that `npm start` gives the event loop it would only grow, MB. */
const youngMb = 16

/** A bundle has the thread's code beside it as JavaScript. */
const threadFile = import.meta.url.endsWith('.ts') ? './embedded-thread.mjs' : './embedded-worker.mjs'

/** Starts a thread on the file. @throws {StoreFault} when the file cannot be opened. */
async function startThread(file: string, readOnly: boolean): Promise<Thread> {
  const worker = new Worker(new URL(threadFile, import.meta.url), {
    workerData: { file, readOnly },
    execArgv: [],
    resourceLimits: { maxYoungGenerationSizeMb: youngMb },
  })
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  let lastId = 0
  let alive = true
  const expect = (id: number) =>
    new Promise<unknown>((resolve, reject) => {
      waiting.set(id, { resolve, reject })
    })
  const end = (code: string) => {
    alive = false
    for (const { reject } of waiting.values()) reject(new StoreFault(code))
    waiting.clear()
  }
  worker.on('message', (answer: Answer) => {
    const asked = waiting.get(answer.id)
    waiting.delete(answer.id)
    if ('code' in answer) asked?.reject(new StoreFault(answer.code))
    else asked?.resolve(answer.value)
  })
  worker.on('error', () => end('THREAD_FAILED'))
  const ended = new Promise<void>((resolve) => {
    worker.on('exit', () => {
      end('THREAD_ENDED')
      resolve()
    })
  })
  await expect(0)
  return {
    ended,
    ask: (ask) => {
      if (!alive) return Promise.reject(new StoreFault('THREAD_ENDED'))
      lastId += 1
      worker.postMessage({ id: lastId, ...ask })
      return expect(lastId)
    },
  }
}

/** A thread that has one thing to do at a time: what waits for its turn can be refused. */
interface Reader extends Thread {
  /** Refuses what waits; what runs is still answered. */
  refuse(): void
}

function inTurn(thread: Thread): Reader {
  let waiting: { ask: Ask; resolve: (value: unknown) => void; reject: (error: unknown) => void }[] = []
  let running = false
  const next = () => {
    const first = waiting.shift()
    running = first !== undefined
    if (first) void thread.ask(first.ask).then(first.resolve, first.reject).then(next)
  }
  return {
    ended: thread.ended,
    ask: (ask) =>
      new Promise((resolve, reject) => {
        waiting.push({ ask, resolve, reject })
        if (!running) next()
      }),
    refuse() {
      const refused = waiting
      waiting = []
      for (const { reject } of refused) reject(new StoreFault('CLOSED'))
    },
  }
}

/** Statements of one server run side by side there; only what writes waits for what wrote before. */
function connect(url: string, authToken: string | undefined): Thread {
  const client = openServer({ url, ...(authToken === undefined ? {} : { authToken }), intMode: 'bigint' })
  const answer = answerOn(onServer(client))
  return {
    ended: Promise.resolve(),
    ask: (ask) =>
      answer(ask).catch((error: unknown) => {
        throw new StoreFault(codeOf(error))
      }),
  }
}

/** Makes the tables on a server; a file gets them when it is opened. */
export async function prepareServer(url: string, authToken: string | undefined): Promise<void> {
  const client = openServer({ url, ...(authToken === undefined ? {} : { authToken }) })
  await prepareTables(onServer(client))
  client.close()
}

/** No reading may have the last nanosecond that the database can hold. */
const allOfTime: TimeRange = { from: 0n, to: 2n ** 63n - 1n }

/** Told apart from those of every other process that ever wrote. */
const tokenPrefix = randomUUID()
let tokensGiven = 0

/** Types and places as JSON: many devices have the same. */
const quotedTexts = new Map<string, string>()
const maxQuoted = 1000
const quoted = (text: string | null): string => {
  if (text === null) return 'null'
  let json = quotedTexts.get(text)
  if (json === undefined) {
    json = JSON.stringify(text)
    if (quotedTexts.size >= maxQuoted) quotedTexts.clear()
    quotedTexts.set(text, json)
  }
  return json
}

/** A message on its way to the database. */
interface Outgoing {
  readonly line: string
  readonly count: number
  /** One for each reading; only of a message that has keys. */
  readonly tokens: readonly string[] | undefined
  /** Whether the journal can take it: nothing that the tables could refuse later may be in there. */
  readonly small: boolean
}

const toOutgoing = (entry: WriteEntry & Partial<Delivery>, received: number): Outgoing => {
  const { deviceId, receivedAt, deviceType, readings, keys, rejected = 0 } = entry
  const tags = `${receivedAt},${quoted(deviceType)},${quoted(entry.location)}`
  const tokens = keys?.some((key) => key !== undefined)
    ? readings.map(() => `${tokenPrefix}.${tokensGiven++}`)
    : undefined
  let rows = ''
  let fits = typeof deviceType === 'string'
  for (const [at, { time, fields, metadata }] of readings.entries()) {
    fits &&= time < allOfTime.to
    if (rows !== '') rows += ','
    rows += `[${deviceId},"${time}",${JSON.stringify(fields)},${metadata ? JSON.stringify(metadata) : 'null'},${tags}`
    rows += tokens ? `,${JSON.stringify(keys?.[at] ?? null)},"${tokens[at]}"]` : ']'
  }
  const count = readings.length
  const keyed = tokens !== undefined
  return {
    line: lineOf({ deviceId, receivedAt, count, received, rejected, keyed, rows }),
    count,
    tokens,
    small: fits && !keyed && rows.length <= maxJournaled,
  }
}

const toEntry = ([id, deviceId, receivedAt, rows]: SpooledRow): Spooled => {
  type Row = [number, string, Reading['fields'], Record<string, string> | null, number, string, string | null]
  const parsed = JSON.parse(`[${rows}]`) as Row[]
  const [, , , , , deviceType = '', location = null] = parsed[0] ?? []
  const readings = parsed.map(([, time, fields, metadata]) => ({
    time: BigInt(time),
    fields,
    metadata: metadata ?? undefined,
  }))
  return {
    id: Number(id),
    entry: { deviceId: Number(deviceId), receivedAt: Number(receivedAt), deviceType, location, readings },
  }
}

type StoredRow = [bigint, string, string | null, string, string | null, bigint]

const toReading = ([time, fields, metadata]: [bigint, string, string | null]): Reading => ({
  time,
  fields: JSON.parse(fields) as Record<string, FieldValue>,
  metadata: metadata === null ? undefined : (JSON.parse(metadata) as Record<string, string>),
})

/** What an older version of the layer has written is told by its type. */
const toValue = (type: string, value: unknown): FieldValue => {
  if (type === 'json') return JSON.parse(String(value)) as FieldValue
  if (type === 'true') return true
  if (type === 'false') return false
  return type === 'text' ? String(value) : Number(value)
}

const only = (reading: Reading, names: readonly string[]): Reading => {
  const fields: Record<string, FieldValue> = {}
  for (const name of names) {
    const value = Object.hasOwn(reading.fields, name) ? reading.fields[name] : undefined
    if (value !== undefined) fields[name] = value
  }
  return { ...reading, fields }
}

/** Readings that one look aggregates, unless one window has more: others, and the end, wait for no more than that. */
const sliceReadings = 5000

/** Where the windows begin that are newer than the one of a reading; that one's own where there are none. */
const sliceStart = (reading: bigint, end: bigint, window: bigint): bigint => {
  const start = reading - (reading % window)
  return start + window < end ? start + window : start
}

/** @throws {AppError} UNAVAILABLE when the file cannot be opened. */
export async function openEmbeddedStore(options: EmbeddedOptions): Promise<EmbeddedStore> {
  const { at, log, retentionMs, now = Date.now, pruneEveryMs = 3_600_000 } = options
  const { maxWaiting, maxWaitingBytes, maxQueries = 200, readOnly = false } = options
  if ('file' in at && !readOnly) await mkdir(dirname(at.file), { recursive: true, mode: 0o700 })
  const start = async () => ('file' in at ? startThread(at.file, readOnly) : connect(at.url, at.authToken))
  // The writer makes the tables that the reader needs.
  let writer = await start()
  // Aggregations have a thread of their own: others do not wait behind them.
  const startReader = async (): Promise<Reader> => {
    if ('file' in at) return inTurn(await start())
    return { ...writer, refuse: () => undefined }
  }
  let rows = await startReader()
  let aggregates: Promise<Reader> | undefined

  const hasJournal = 'file' in at
  const folds = hasJournal && !readOnly
  let queries = 0
  let closed = false

  /** When something was written last, and when the disk or the network did not take it, by the clock of performance.now(). */
  let writtenAt = Number.NEGATIVE_INFINITY
  let failedAt = Number.NEGATIVE_INFINITY
  let restarting: Promise<void> | undefined
  const restart = (): Promise<void> => {
    restarting ??= start()
      .then(
        (thread) => {
          writer = thread
        },
        () => undefined,
      )
      .finally(() => {
        restarting = undefined
      })
    return restarting
  }
  type Outcome = Receipt & { lastId: number }
  const send = async (
    ask: Extract<Ask, { messages: Lines }>,
    sent: readonly Outgoing[],
  ): Promise<(Outcome | AppError)[]> => {
    const asked = writer
    try {
      const written = (await asked.ask(ask)) as Written
      const failed = new Set(written.failed)
      if (failed.size === 0) writtenAt = performance.now()
      else if (ofAll.test(written.code)) failedAt = performance.now()
      const duplicates = new Set(written.duplicates)
      return sent.map(({ tokens, count }, at) => {
        if (failed.has(at)) return unavailable(new StoreFault(written.code))
        const again = tokens?.filter((token) => duplicates.has(token)).length ?? 0
        const fresh = count - again
        const [stored, queued] = ask.op === 'write' && ask.into === 'spool' ? [0, fresh] : [fresh, 0]
        return { stored, queued, duplicates: again, lastId: written.lastId }
      })
    } catch (error) {
      const fault = error as StoreFault
      failedAt = performance.now()
      if (fault.code.startsWith('THREAD_') && !closed && writer === asked) await restart()
      return sent.map(() => unavailable(fault))
    }
  }
  const linesOf = (messages: readonly Outgoing[]): Lines => ({
    count: messages.length,
    text: messages.map(({ line }) => line).join('\n'),
  })
  const writeInto = (into: 'readings' | 'spool') => (messages: readonly Outgoing[]) =>
    send({ op: 'write', into, messages: linesOf(messages) }, messages)
  /** In a file, what is small goes to the journal. */
  const writeReadings = async (messages: readonly Outgoing[]) => {
    const append = async (some: readonly Outgoing[]) => {
      const outcomes = await send({ op: 'append', messages: linesOf(some) }, some)
      foldSoon()
      return outcomes
    }
    if (!hasJournal) return writeInto('readings')(messages)
    if (messages.every(({ small }) => small)) return append(messages)
    const [small, others] = [messages.filter(({ small }) => small), messages.filter(({ small }) => !small)]
    const [appended, written] = await Promise.all([
      small.length === 0 ? [] : append(small),
      writeInto('readings')(others),
    ])
    const [fromJournal, fromTables] = [appended.values(), written.values()]
    return messages.map(({ small }) => (small ? fromJournal : fromTables).next().value as Outcome | AppError)
  }
  // A thread puts together what waits for it: it has the next group while the event loop is still busy with answers.
  const limits = { log, maxWaiting, maxWaitingBytes, ...('file' in at && { ahead: groupsAhead, atOnce }) }
  const queues = {
    readings: createWriteQueue<Outgoing, Outcome>({ write: writeReadings, ...limits }),
    spool: createWriteQueue<Outgoing, Outcome>({ write: writeInto('spool'), ...limits }),
  }
  const add = (into: 'readings' | 'spool', message: Outgoing) =>
    queues[into].add({ value: message, count: message.count, characters: message.line.length })

  /** Changes something; what cannot be done now is to be tried again. */
  const change = async (ask: Change): Promise<unknown> => {
    try {
      return await writer.ask(ask)
    } catch (error) {
      throw unavailable(error)
    }
  }

  /** Folds all that waits in the journal now, of a device or of all; what is to be written comes in between. */
  const foldAllOf = async (deviceId: number | undefined): Promise<void> => {
    while (await change({ op: 'fold', deviceId })) {}
  }
  let folding: Promise<void> | undefined
  let foldingNext: Promise<void> | undefined
  /** All that was written before this call. */
  const foldAll = (): Promise<void> => {
    if (folding === undefined) {
      folding = foldAllOf(undefined).finally(() => {
        folding = undefined
      })
      return folding
    }
    foldingNext ??= folding
      .catch(() => undefined)
      .then(() => {
        foldingNext = undefined
        return foldAll()
      })
    return foldingNext
  }
  let foldTimer: ReturnType<typeof setTimeout> | undefined
  const foldSoon = () => {
    if (foldTimer !== undefined) return
    foldTimer = setTimeout(() => {
      // What comes while it folds is for the next time.
      foldTimer = undefined
      foldAll().catch((error) => log.warn('readings wait in the journal', { error }))
    }, foldAfterMs)
    foldTimer.unref()
  }

  const aggregator = (): Promise<Reader> => {
    aggregates ??= startReader().catch((error: unknown) => {
      aggregates = undefined
      throw error
    })
    return aggregates
  }

  /** What waits in the journal is folded first; where that cannot be, as on a full disk, only for this question. */
  const askReader = async (reader: Thread, ask: Read): Promise<unknown> => {
    if (!hasJournal || !ofReadings.has(ask.op)) return reader.ask(ask)
    if (!readOnly) {
      const answer = await reader.ask({ ...ask, journal: 'tell' })
      if (answer !== waiting) return answer
      const deviceId = 'deviceId' in ask ? ask.deviceId : undefined
      const folded = await (deviceId === undefined ? foldAll() : foldAllOf(deviceId)).then(
        () => true,
        () => false,
      )
      if (folded) return reader.ask(ask)
    }
    return reader.ask({ ...ask, journal: 'fold' })
  }

  const query = async (ask: Read): Promise<unknown[][]> => {
    if (queries >= maxQueries || closed) throw unavailable()
    queries += 1
    const isAggregate = ask.op === 'aggregate' || ask.op === 'sliceEnd'
    try {
      return (await askReader(isAggregate ? await aggregator() : rows, ask)) as unknown[][]
    } catch (error) {
      if (!closed) log.error('a telemetry query failed', { error, op: ask.op })
      if ((error as StoreFault).code?.startsWith('THREAD_') && !closed) {
        if (isAggregate) aggregates = undefined
        else rows = await startReader().catch(() => rows)
      }
      throw unavailable(error)
    } finally {
      queries -= 1
    }
  }

  let pruning: Promise<void> | undefined
  const prune = async () => {
    while (
      !closed &&
      ((await writer.ask({ op: 'forgetKeys', before: now() - keyMs })) as unknown[]).length > 0
    ) {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    if (retentionMs === 0) return
    const before = BigInt(now() - retentionMs) * 1_000_000n
    while (!closed && (await writer.ask({ op: 'prune', before }))) {
      // Slice by slice: what is to be written comes in between.
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  const startPruning = () => {
    pruning ??= prune()
      .catch((error) => log.warn('old readings could not be deleted', { error }))
      .finally(() => {
        pruning = undefined
      })
  }
  const pruneTimer = readOnly ? undefined : setInterval(startPruning, pruneEveryMs)
  pruneTimer?.unref()
  if (!readOnly) startPruning()
  // Of a process that ended otherwise.
  if (folds) foldSoon()

  return {
    backend: 'embedded',

    async write(entry) {
      await add('readings', toOutgoing({ ...entry, keys: undefined }, 0))
    },

    deliver: (delivery, into) =>
      add(into, toOutgoing(delivery, delivery.readings.length + delivery.rejected)),

    async countIn({
      deviceId,
      received = 0,
      stored = 0,
      spooled = 0,
      rejected = 0,
      duplicates = 0,
    }: AccountChange) {
      const row: AccountRow = [deviceId, received, stored, spooled, rejected, duplicates, 0]
      await change({ op: 'count', change: row })
    },

    async account(deviceId) {
      const [found = []] = await query({ op: 'account', deviceId })
      const [received = 0, stored = 0, spooled = 0, rejected = 0, duplicates = 0] = found.map(Number)
      return { received, stored, spooled, rejected, duplicates }
    },

    async reserveKeys({ deviceId, receivedAt, readings, keys = [] }) {
      const rows = readings.flatMap(({ time }, at) =>
        keys[at] === undefined ? [] : [[deviceId, keys[at], `${reserved}${time}`, receivedAt, at]],
      )
      const times: (bigint | undefined)[] = readings.map(({ time }) => time)
      const found = (await change({ op: 'reserveKeys', keys: JSON.stringify(rows) })) as [bigint, string][]
      for (const [at, token] of found)
        times[Number(at)] = token.startsWith(reserved) ? BigInt(token.slice(reserved.length)) : undefined
      return times
    },

    async note({ deviceId, receivedAt, readings, rejected }, { stored, refused, duplicates }) {
      const rowsOf = (all: Became['stored'], counts: 0 | 1) =>
        all.flatMap(({ key }) =>
          key === undefined ? [] : [[deviceId, key, `${tokenPrefix}.${tokensGiven++}`, receivedAt, counts]],
        )
      const lost = (await change({
        op: 'note',
        keys: JSON.stringify([...rowsOf(stored, 1), ...rowsOf(refused, 0)]),
        deviceId,
        change: [
          deviceId,
          readings.length + rejected,
          stored.length,
          0,
          rejected + refused.length,
          duplicates,
          receivedAt,
        ],
      })) as number
      return { stored: stored.length - lost, queued: 0, duplicates: duplicates + lost }
    },

    async lastArrival() {
      return Number((await query({ op: 'lastArrival' }))[0]?.[0] ?? 0)
    },

    async spoolState() {
      const [[depth, bytes, oldestAt] = []] = await query({ op: 'spool' })
      return {
        depth: Number(depth ?? 0),
        bytes: Number(bytes ?? 0),
        oldestAt: oldestAt === null || oldestAt === undefined ? undefined : Number(oldestAt),
      }
    },

    async spooled(most) {
      return (await query({ op: 'spooled', ...most })).map((row) => toEntry(row as unknown as SpooledRow))
    },

    async settle(ids, rejected) {
      await change({ op: 'settle', settled: ids.map((id) => [id, rejected?.get(id) ?? 0]) })
    },

    async dropSpooled(deviceId, { from, to }) {
      await change({ op: 'dropSpooled', deviceId, from, to })
    },

    async noteRemoved(deviceId, { from, to }) {
      const at = now()
      await change({ op: 'noteRemoved', deviceId, from, to, at, forget: at - removedMs })
    },

    async removedSince(deviceId, at) {
      const found = (await query({ op: 'removedSince', deviceId, at })) as [bigint, bigint][]
      return found.map(([from, to]) => ({ from, to }))
    },

    async history({ deviceId, from, to, fields, limit, order }) {
      const found = await query({
        op: 'history',
        deviceId,
        from,
        to,
        fields: fields === undefined ? undefined : [...fields],
        limit,
        descending: order === 'desc',
      })
      const readings = found.map((row) => toReading(row as [bigint, string, string | null]))
      return fields === undefined ? readings : readings.map((reading) => only(reading, fields))
    },

    async latest(deviceId) {
      const [newest, ...kept] = (await query({ op: 'latest', deviceId })) as [
        string,
        bigint,
        string,
        unknown,
      ][]
      if (newest === undefined) return undefined
      const fields = new Map(Object.entries(JSON.parse(newest[3] as string) as Reading['fields']))
      for (const [field, , type, value] of kept)
        if (fields.size < maxLatest) fields.set(field, toValue(type, value))
      return { time: newest[1], fields: Object.fromEntries(fields) }
    },

    async aggregate({ deviceId, field, aggregation, window, from, to }) {
      const found: [bigint, string, number | bigint][] = []
      // Whole windows, newest first: what others ask comes in between.
      for (let end = to; end > from; ) {
        const at = { deviceId, from, to: end } as const
        const [[older] = []] = await query({ op: 'sliceEnd', ...at, readings: sliceReadings })
        const begin = older === undefined ? from : sliceStart(older as bigint, end, window)
        const slice = { from: begin > from ? begin : from, to: end }
        const limit = maxAggregates + 1 - found.length
        const part = await query({
          op: 'aggregate',
          deviceId,
          field,
          aggregation,
          window,
          limit,
          ...slice,
        })
        end = slice.from
        // Not by its arguments: there may be more than a call takes.
        for (const row of part) found.push(row as [bigint, string, number | bigint])
        if (found.length > maxAggregates) throw tooManyValues()
      }
      const windows: { time: bigint; values: Record<string, number> }[] = []
      for (const [time, name, value] of found) {
        // A sum beyond the largest number is none.
        if (value === null || !Number.isFinite(Number(value))) continue
        let last = windows.at(-1)
        if (last?.time !== time) {
          last = { time, values: {} }
          windows.push(last)
        }
        last.values[name] = Number(value)
      }
      return windows
    },

    async remove(deviceId, { from, to }) {
      await change({ op: 'remove', deviceId, from, to })
    },

    async scan(ask) {
      const found = await query({ op: 'scan', ...ask })
      return found.map((row) => {
        const [time, fields, metadata, deviceType, location, receivedAt] = row as StoredRow
        return {
          ...toReading([time, fields, metadata]),
          deviceType,
          location,
          receivedAt: Number(receivedAt),
        }
      })
    },

    async count(deviceId, { from, to } = allOfTime) {
      return Number((await query({ op: 'countReadings', deviceId, from, to }))[0]?.[0] ?? 0)
    },

    async devices() {
      return (await query({ op: 'devices' })).map(([id]) => Number(id))
    },

    async countSince(from) {
      return Number((await query({ op: 'countSince', from }))[0]?.[0] ?? 0)
    },

    async check() {
      // What only reads may be busy for a while with what it was asked.
      const at = performance.now()
      // Where readings were refused, a little may well be written.
      if (at - failedAt < provenMs) throw unavailable()
      const write = !readOnly && at - writtenAt > provenMs
      await change({ op: 'check', write })
      if (write) writtenAt = at
    },

    async close() {
      if (closed) return
      closed = true
      clearInterval(pruneTimer)
      const readers = [rows]
      rows.refuse()
      // One that only starts now has to end too.
      const last = await aggregates?.catch(() => undefined)
      if (last) readers.push(last)
      last?.refuse()
      await Promise.all([queues.readings.close(), queues.spool.close()])
      clearTimeout(foldTimer)
      // What cannot be folded now is as durable where it is.
      if (folds) await foldAll().catch(() => undefined)
      await pruning
      const over = { op: 'close' } as const
      const threads = [writer, ...readers]
      await Promise.all(threads.map((thread) => thread.ask(over).catch(() => undefined)))
      await Promise.all(threads.map(({ ended }) => ended))
    },
  }
}

const receiptOf = ({ stored, queued, duplicates }: Receipt): Receipt => ({ stored, queued, duplicates })

/** The way in where the readings themselves are kept here: in one transaction with their account and their keys. */
export function createDirectIntake(store: EmbeddedStore): Intake {
  return {
    take: (delivery) => store.deliver(delivery, 'readings').then(receiptOf),
    count: (change) => store.countIn(change),
    account: (deviceId) => store.account(deviceId),
    keeps: () => Promise.resolve(false),
    spool: () => Promise.resolve(undefined),
    dropSpooled: () => Promise.resolve(),
    lastArrival: () => store.lastArrival(),
    close: () => Promise.resolve(),
  }
}
