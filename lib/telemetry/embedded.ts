/**
 * The embedded telemetry store on libSQL: a file, with one thread that writes in groups and one that reads, or the database
 * of a server.
 */
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { createClient } from '@libsql/client'
import type { Log } from '../log.ts'
import { type Ask, answerOn, codeOf, prepareTables } from './embedded-sql.ts'
import type { Answer } from './embedded-worker.ts'
import type { FieldValue, Reading } from './reading.ts'
import { maxAggregates, type TelemetryStore, tooManyValues, type WriteEntry } from './store.ts'
import { createWriteQueue, unavailable } from './write-queue.ts'

export interface EmbeddedOptions {
  /** Path of the database file, its folder is made; or a server's URL with its token. */
  at: { file: string } | { url: string; authToken: string | undefined }
  log: Log
  /** 0 keeps readings for ever. */
  retentionMs: number
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

class StoreFault extends Error {
  override readonly name = 'StoreFault'
  readonly code: string
  constructor(code: string) {
    super(`telemetry store: ${code}`)
    this.code = code
  }
}

/** A connection that answers one thing after the other. */
interface Thread {
  ask(ask: Ask): Promise<unknown>
  ended: Promise<void>
}

/** A bundle has the thread's code beside it as JavaScript. */
const threadFile = import.meta.url.endsWith('.ts') ? './embedded-thread.mjs' : './embedded-worker.mjs'

/** Starts a thread on the file. @throws {StoreFault} when the file cannot be opened. */
async function startThread(file: string): Promise<Thread> {
  const worker = new Worker(new URL(threadFile, import.meta.url), { workerData: { file }, execArgv: [] })
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

/** Statements of one server run side by side there; only what writes waits for what wrote before. */
function connect(url: string, authToken: string | undefined): Thread {
  const client = createClient({ url, ...(authToken === undefined ? {} : { authToken }), intMode: 'bigint' })
  const answer = answerOn(client)
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
  const client = createClient({ url, ...(authToken === undefined ? {} : { authToken }) })
  await prepareTables(client, false)
  client.close()
}

const toJson = (entry: WriteEntry): string => {
  const tags = `${entry.receivedAt},${JSON.stringify(entry.deviceType)},${JSON.stringify(entry.location)}]`
  let json = ''
  for (const { time, fields, metadata } of entry.readings) {
    if (json !== '') json += ','
    json += `[${entry.deviceId},${time},${JSON.stringify(fields)},${metadata ? JSON.stringify(metadata) : 'null'},${tags}`
  }
  return json
}

const toReading = ([time, fields, metadata]: [bigint, string, string | null]): Reading => ({
  time,
  fields: JSON.parse(fields) as Record<string, FieldValue>,
  metadata: metadata === null ? undefined : (JSON.parse(metadata) as Record<string, string>),
})

const toValue = (type: string, value: unknown): FieldValue => {
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

/** @throws {AppError} UNAVAILABLE when the file cannot be opened. */
export async function openEmbeddedStore(options: EmbeddedOptions): Promise<TelemetryStore> {
  const { at, log, retentionMs, now = Date.now, pruneEveryMs = 3_600_000 } = options
  const { maxWaiting, maxWaitingBytes, maxQueries = 200 } = options
  if ('file' in at) await mkdir(dirname(at.file), { recursive: true, mode: 0o700 })
  const start = async () => ('file' in at ? startThread(at.file) : connect(at.url, at.authToken))
  // The writer makes the tables that the reader needs.
  let writer = await start()
  let reader = 'file' in at ? await start() : writer

  let queries = 0
  let closed = false

  const write = async (groups: readonly string[]) => {
    try {
      const written = (await writer.ask({ op: 'write', groups: [...groups] })) as {
        failed: number[]
        code: string
      }
      return new Map(written.failed.map((at) => [at, unavailable(new StoreFault(written.code))]))
    } catch (error) {
      const fault = error as StoreFault
      if (fault.code.startsWith('THREAD_') && !closed) writer = await start().catch(() => writer)
      return new Map(groups.map((_, at) => [at, unavailable(fault)]))
    }
  }
  const queue = createWriteQueue({ write, log, maxWaiting, maxWaitingBytes })

  const query = async (ask: Ask): Promise<unknown[][]> => {
    if (queries >= maxQueries || closed) throw unavailable()
    queries += 1
    try {
      return (await reader.ask(ask)) as unknown[][]
    } catch (error) {
      log.error('a telemetry query failed', { error, op: ask.op })
      if ((error as StoreFault).code.startsWith('THREAD_') && !closed) {
        reader = await start().catch(() => reader)
      }
      throw unavailable(error)
    } finally {
      queries -= 1
    }
  }

  let pruning: Promise<void> | undefined
  const prune = async () => {
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
  const pruneTimer = retentionMs > 0 ? setInterval(startPruning, pruneEveryMs) : undefined
  pruneTimer?.unref()
  if (retentionMs > 0) startPruning()

  return {
    backend: 'embedded',

    write(entry) {
      const json = toJson(entry)
      return queue.add({ value: json, count: entry.readings.length, characters: json.length })
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
      const found = (await query({ op: 'latest', deviceId })) as [string, bigint, string, unknown][]
      const newest = found[0]
      if (newest === undefined) return undefined
      return {
        time: newest[1],
        fields: Object.fromEntries(found.map(([field, , type, value]) => [field, toValue(type, value)])),
      }
    },

    async aggregate({ deviceId, field, aggregation, window, from, to }) {
      const ask = {
        op: 'aggregate',
        deviceId,
        field,
        aggregation,
        window,
        from,
        to,
        limit: maxAggregates + 1,
      } as const
      const found = (await query(ask)) as [bigint, string, number | bigint][]
      if (found.length > maxAggregates) throw tooManyValues()
      const windows: { time: bigint; values: Record<string, number> }[] = []
      for (const [time, name, value] of found) {
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
      try {
        await writer.ask({ op: 'remove', deviceId, from, to })
      } catch (error) {
        throw unavailable(error)
      }
    },

    async count(deviceId) {
      return Number((await query({ op: 'count', deviceId }))[0]?.[0] ?? 0)
    },

    async countDevices() {
      return Number((await query({ op: 'countDevices' }))[0]?.[0] ?? 0)
    },

    async countSince(from) {
      return Number((await query({ op: 'countSince', from }))[0]?.[0] ?? 0)
    },

    async check() {
      await query({ op: 'check' })
      await writer.ask({ op: 'check' }).catch((error: unknown) => {
        throw unavailable(error)
      })
    },

    async close() {
      if (closed) return
      closed = true
      clearInterval(pruneTimer)
      await queue.close()
      await pruning
      const over = { op: 'close' } as const
      await Promise.all([writer.ask(over), reader.ask(over)].map((closing) => closing.catch(() => undefined)))
      await Promise.all([writer.ended, reader.ended])
    },
  }
}
