/**
 * The way to write into the embedded database, by one thread on a file: small messages without keys go into the journal, other
 * messages into the tables, and other changes are made by their names.
 */
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { AppError } from '../../errors.ts'
import { openServer } from '../../libsql/server.ts'
import type { Log } from '../../log.ts'
import { type Delivery, hasKeys, type Outcome } from '../delivery.ts'
import type { WriteEntry } from '../store.ts'
import { endOfTime } from '../time.ts'
import { unavailable } from '../unavailable.ts'
import { encodeSamples } from './alert-states.ts'
import { codeOf, connectionOf, isStoreWideFailure, isThreadFault, StoreFault } from './connection.ts'
import { encodeMessage, maxJournaled } from './journal.ts'
import { JournalFolding } from './journal-folding.ts'
import { newToken } from './keys.ts'
import type { Lines, Written } from './message.ts'
import {
  answer,
  type ChangeArgs,
  type ChangeName,
  type ChangeRequest,
  type ChangeResult,
  commonRequests,
  type QueryRequest,
  type RequestPort,
  type RequestTable,
  type StoreRequest,
  type WriteRequest,
} from './requests.ts'
import { prepareTables } from './schema.ts'
import { DatabaseSession } from './session.ts'
import type { Answer } from './worker.ts'
import type { Target } from './write-messages.ts'

/** Young generation of the thread's heap, MB. Its objects are short-lived: with the default size the heap would only grow. */
const youngGenerationMb = 16

/** Vitest sets this path, because it runs TypeScript without a build. Beside a bundle lies the bundle of the worker. */
declare const embeddedWorkerFile: string | undefined
const workerFile =
  typeof embeddedWorkerFile === 'undefined'
    ? new URL('./embedded-worker.mjs', import.meta.url)
    : embeddedWorkerFile

interface Pending {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

class Thread implements RequestPort {
  readonly ended: Promise<void>
  readonly learn = undefined
  readonly #worker: Worker
  readonly #pending = new Map<number, Pending>()
  #lastId = 0
  #alive = true

  constructor(file: string, readOnly: boolean, log: Log) {
    this.#worker = new Worker(workerFile, {
      workerData: { file, readOnly },
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: youngGenerationMb },
    })
    this.#worker.on('message', (answer: Answer) => this.#settle(answer))
    this.#worker.on('error', (error) => {
      log.error('a thread of the telemetry store failed', { error })
      this.#fail('THREAD_FAILED')
    })
    this.ended = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#fail('THREAD_ENDED')
        resolve()
      })
    })
  }

  ask(request: StoreRequest): Promise<unknown> {
    if (!this.#alive) return Promise.reject(new StoreFault('THREAD_ENDED'))
    this.#lastId += 1
    this.#worker.postMessage({ id: this.#lastId, ...request })
    return this.expect(this.#lastId)
  }

  expect(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject })
    })
  }

  #settle(answer: Answer): void {
    const pending = this.#pending.get(answer.id)
    this.#pending.delete(answer.id)
    if ('code' in answer) pending?.reject(new StoreFault(answer.code))
    else pending?.resolve(answer.value)
  }

  #fail(code: string): void {
    this.#alive = false
    for (const { reject } of this.#pending.values()) reject(new StoreFault(code))
    this.#pending.clear()
  }
}

/** @throws {StoreFault} when the file cannot be opened. */
async function startThread(file: string, readOnly: boolean, log: Log): Promise<RequestPort> {
  const thread = new Thread(file, readOnly, log)
  // The worker reports with id 0 that the file is open.
  await thread.expect(0)
  return thread
}

/** Path of the database file, whose folder is made; or a server's URL with its token. */
export type DatabaseLocation = { file: string } | { url: string; authToken: string | undefined }

export interface DatabaseOptions {
  at: DatabaseLocation
  log: Log
  /** Leaves a file as it is, which another process may be writing; every write is refused. */
  readOnly?: boolean | undefined
  /** Most queries that may wait for a reading thread. */
  maxQueries?: number | undefined
}

/** Time after a write in which `check` does not write again, ms: the earlier write proves that the disk takes writes. */
const provenMs = 10_000

/** Statements of a server run side by side there; only writes wait for each other. */
const connectToServer = (url: string, authToken: string | undefined): RequestPort => {
  const client = openServer({ url, ...(authToken === undefined ? {} : { authToken }), intMode: 'bigint' })
  const session = new DatabaseSession(connectionOf(client))
  const known: RequestTable[] = [commonRequests]
  return {
    ended: Promise.resolve(),
    learn: (requests) => void (known.includes(requests) || known.push(requests)),
    async ask(request) {
      if ('append' in request) throw new StoreFault('NO_JOURNAL')
      return answer(session, request, known).catch((error: unknown) => {
        throw new StoreFault(codeOf(error))
      })
    },
  }
}

/** Makes the tables on a server; a file gets them when it is opened. */
export async function prepareServer(url: string, authToken: string | undefined): Promise<void> {
  const client = openServer({ url, ...(authToken === undefined ? {} : { authToken }) })
  await prepareTables(connectionOf(client))
  client.close()
}

/** Opens one more connection to the database. @throws {StoreFault} when the file cannot be opened. */
export async function connect({ at, log, readOnly = false }: DatabaseOptions): Promise<RequestPort> {
  return 'file' in at ? startThread(at.file, readOnly, log) : connectToServer(at.url, at.authToken)
}

interface Outgoing {
  readonly deviceId: number
  readonly line: string
  readonly count: number
  /** One per reading; only in a message with keys. */
  readonly tokens: readonly string[] | undefined
  /** Whether the journal may take it: it must hold nothing that the tables could refuse later. */
  readonly journaled: boolean
}

/** @param length of its line without samples. */
const isSafeForJournal = ({ deviceType, readings }: WriteEntry, length: number): boolean =>
  length <= maxJournaled && typeof deviceType === 'string' && readings.every(({ time }) => time <= endOfTime)

const linesOf = (messages: readonly Outgoing[]): Lines => ({
  count: messages.length,
  text: messages.map(({ line }) => line).join('\n'),
})

export class EmbeddedWriter {
  readonly isFile: boolean
  /** Undefined on a server and where nothing may be written. */
  readonly folding: JournalFolding | undefined
  readonly #options: DatabaseOptions
  #port: RequestPort
  #restarting: Promise<void> | undefined
  #closed = false
  /** By performance.now(): the last write, and the last time that the disk or the network did not take one. */
  #writtenAt = Number.NEGATIVE_INFINITY
  #failedAt = Number.NEGATIVE_INFINITY

  private constructor(options: DatabaseOptions, port: RequestPort) {
    this.#options = options
    this.#port = port
    this.isFile = 'file' in options.at
    if (!this.isFile || options.readOnly) return
    this.folding = new JournalFolding((deviceId) => this.change('fold', { deviceId }), options.log)
    // A process that was killed may have left messages in the journal.
    this.folding.schedule()
  }

  /** Makes the folder of a file, and the tables in it. @throws {StoreFault} when the file cannot be opened. */
  static async open(options: DatabaseOptions): Promise<EmbeddedWriter> {
    const { at, readOnly = false } = options
    if ('file' in at && !readOnly) await mkdir(dirname(at.file), { recursive: true, mode: 0o700 })
    return new EmbeddedWriter(options, await connect(options))
  }

  /** Batches that may be at the thread at once. The thread works on the next one while the main thread answers the last. */
  get batchesAhead(): number {
    return this.isFile ? 8 : 1
  }

  /** Writes and counts the deliveries of a batch. One outcome per delivery, in order, or the error UNAVAILABLE. */
  deliver(target: Target, batch: readonly Delivery[]): Promise<(Outcome | AppError)[]> {
    return this.#write(
      target,
      batch.map((delivery) => {
        const { readings, keys, rejected, warned, request, samples: found } = delivery
        const samples = found && encodeSamples(found)
        const tokens = hasKeys(delivery) ? readings.map(newToken) : undefined
        const facts = { counted: true, rejected, warned, request, keys, tokens, samples }
        const line = encodeMessage(delivery, facts)
        const length = line.length - (samples?.length ?? 0)
        const journaled = tokens === undefined && isSafeForJournal(delivery, length)
        return { deviceId: delivery.deviceId, line, count: readings.length, tokens, journaled }
      }),
    )
  }

  /** Writes readings that are not counted. */
  write(batch: readonly WriteEntry[]): Promise<(Outcome | AppError)[]> {
    return this.#write(
      'readings',
      batch.map((entry) => {
        const line = encodeMessage(entry, { counted: false, rejected: 0 })
        const journaled = isSafeForJournal(entry, line.length)
        return { deviceId: entry.deviceId, line, count: entry.readings.length, tokens: undefined, journaled }
      }),
    )
  }

  /** Makes a change. @throws {AppError} UNAVAILABLE; the same change may succeed later. */
  change<Name extends ChangeName>(change: Name, args: ChangeArgs<Name>): Promise<ChangeResult<Name>> {
    const asked = this.#ask({ change, args } as ChangeRequest) as Promise<ChangeResult<Name>>
    return asked.catch((error: unknown) => {
      throw unavailable(error)
    })
  }

  /** Adds requests to those that are known on a server; a thread knows all. */
  learn(requests: RequestTable): void {
    this.#port.learn?.(requests)
  }

  /** Answers a query on the connection that writes: on a server it is the only one. @throws {StoreFault} */
  ask(request: QueryRequest): Promise<unknown> {
    return this.#port.ask(request)
  }

  /** @throws {AppError} UNAVAILABLE when writes fail. */
  async check(): Promise<void> {
    const now = performance.now()
    // On a full disk a little may still be written while readings were refused a moment ago.
    if (now - this.#failedAt < provenMs) throw unavailable()
    const write = !this.#options.readOnly && now - this.#writtenAt > provenMs
    await this.change('check', { write })
    if (write) this.#writtenAt = now
  }

  /** Folds the journal, and ends the thread. */
  async close(): Promise<void> {
    this.#closed = true
    // Messages that cannot be folded now are as durable in the journal.
    await this.folding?.close().catch(() => undefined)
    await this.#port.ask({ change: 'close', args: {} }).catch(() => undefined)
    await this.#port.ended
  }

  /** Asks the thread, and starts it anew when it has died. @throws {StoreFault} */
  async #ask(request: ChangeRequest | WriteRequest): Promise<unknown> {
    const port = this.#port
    try {
      return await port.ask(request)
    } catch (error) {
      if (isThreadFault(error) && !this.#closed && port === this.#port) await this.#restart()
      throw error
    }
  }

  #restart(): Promise<void> {
    this.#restarting ??= connect(this.#options)
      .then(
        (port) => {
          this.#port = port
        },
        () => undefined,
      )
      .finally(() => {
        this.#restarting = undefined
      })
    return this.#restarting
  }

  /** Notes whether the disk or the network took a write. */
  #noteWrite(succeeded: boolean): void {
    if (succeeded) this.#writtenAt = performance.now()
    else this.#failedAt = performance.now()
  }

  async #write(target: Target, messages: readonly Outgoing[]): Promise<(Outcome | AppError)[]> {
    if (target === 'spool' || !this.isFile) return this.#send(target, messages)
    if (messages.every(({ journaled }) => journaled)) return this.#send('journal', messages)
    // The journal is written first: behind another message of its device, a small one is not for it.
    const devices = new Set<number>()
    const isForJournal = messages.map(({ deviceId, journaled }) => {
      if (!journaled) devices.add(deviceId)
      return !devices.has(deviceId)
    })
    const [small, others] = [
      messages.filter((_, at) => isForJournal[at]),
      messages.filter((_, at) => !isForJournal[at]),
    ]
    const [appended, written] = await Promise.all([
      small.length === 0 ? [] : this.#send('journal', small),
      this.#send(target, others),
    ])
    const [fromJournal, fromTables] = [appended.values(), written.values()]
    return isForJournal.map((isSmall) => (isSmall ? fromJournal : fromTables).next().value ?? unavailable())
  }

  async #send(to: Target | 'journal', messages: readonly Outgoing[]): Promise<(Outcome | AppError)[]> {
    if (messages.length === 0) return []
    if (this.#closed) return messages.map(() => unavailable())
    const lines = linesOf(messages)
    try {
      const request: WriteRequest =
        to === 'journal' ? { append: lines } : { change: 'write', args: { target: to, lines } }
      const written = (await this.#ask(request)) as Written
      if (to === 'journal') this.folding?.schedule()
      return this.#outcomes(to === 'spool', messages, written)
    } catch (error) {
      this.#noteWrite(false)
      return messages.map(() => unavailable(error))
    }
  }

  #outcomes(isSpool: boolean, messages: readonly Outgoing[], written: Written): (Outcome | AppError)[] {
    const { failed, code } = written
    if (failed.length === 0) this.#noteWrite(true)
    else if (isStoreWideFailure(code)) this.#noteWrite(false)
    const failedPlaces = new Set(failed)
    const [duplicates, conflicts] = [new Set(written.duplicates), new Set(written.conflicts)]
    const reusedTokens = new Set(written.reused)
    return messages.map(({ tokens, count }, at): Outcome | AppError => {
      if (failedPlaces.has(at)) return unavailable(new StoreFault(code))
      if (tokens === undefined)
        return { stored: isSpool ? 0 : count, queued: isSpool ? count : 0, duplicates: 0 }
      if (conflicts.has(tokens[0] ?? '')) return { stored: 0, queued: 0, duplicates: 0, conflict: true }
      const again = tokens.filter((token) => duplicates.has(token)).length
      const reused = tokens.flatMap((token, place) => (reusedTokens.has(token) ? [place] : []))
      const fresh = count - again
      return {
        stored: isSpool ? 0 : fresh,
        queued: isSpool ? fresh : 0,
        duplicates: again,
        ...(reused.length > 0 && { reused }),
      }
    })
  }
}
