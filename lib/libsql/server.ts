/**
 * A client of a libSQL server: every request ends in time, a server that does not answer is UNAVAILABLE, and this process
 * writes one statement or batch at a time.
 */
import { type Client, type Config, createClient, type InStatement } from '@libsql/client'
import pRetry from 'p-retry'
import pTimeout from 'p-timeout'
import { AppError, errorCode, knownError } from '../errors.ts'
import { isBusy } from './errors.ts'

/** The reason why the server is unavailable: `NETWORK_ECONNREFUSED`, `HTTP_503`. */
class ServerFault extends Error {
  override readonly name = 'ServerFault'
  readonly code: string
  constructor(code: string) {
    super(`libSQL server: ${code}`)
    this.code = code
  }
}

/** A server that has all the connections that it may have answers 429. */
const tooManyCode = 'HTTP_429'

/** Time for one request, ms; below the 10 s that a function has. */
const requestTimeoutMs = 5000

/** Time that a write waits for the writes before it, ms. */
const writeTurnTimeoutMs = 4000

const unavailable = (code: string) =>
  new AppError('UNAVAILABLE', 'The database cannot be used at the moment.', {
    retryAfterS: 2,
    cause: new ServerFault(code),
  })

/** The code of a failed `fetch`; a time-out has only its name. */
const networkCode = (error: unknown): string => {
  const name = error instanceof Error ? error.name : 'UNKNOWN'
  return `NETWORK_${(errorCode(error) ?? name).toUpperCase()}`
}

/** @throws {AppError} UNAVAILABLE when the server does not answer within 5 s, or answers 429 or 5xx. */
async function serverFetch(request: Request): Promise<Response> {
  // The timer holds its controller: Node may collect a combined `AbortSignal.timeout`, which then never fires.
  const ending = new AbortController()
  setTimeout(
    () => ending.abort(new DOMException('The time is over.', 'TimeoutError')),
    requestTimeoutMs,
  ).unref()
  request.signal.addEventListener('abort', () => ending.abort(request.signal.reason), { once: true })
  const response = await fetch(request, { signal: ending.signal }).catch((error: unknown) => {
    throw unavailable(networkCode(error))
  })
  const { status } = response
  if (status >= 500 || status === 429) throw unavailable(`HTTP_${status}`)
  return response
}

/** Settles with the last write of this process to each server, by URL. */
const lastWrites = new Map<string, Promise<unknown>>()

/** @throws {AppError} UNAVAILABLE when the writes before it take too long. */
const afterEarlierWrites = <T>(url: string, write: () => Promise<T>): Promise<T> => {
  const earlier = lastWrites.get(url) ?? Promise.resolve()
  const written = pTimeout(earlier, {
    milliseconds: writeTurnTimeoutMs,
    fallback: () => {
      throw unavailable('WRITES_WAIT')
    },
  }).then(write)
  // A write that timed out here leaves the earlier ones running, so the next write waits for both. Results are dropped:
  // each would hold all results before it.
  const settled = Promise.allSettled([earlier, written]).then(() => undefined)
  lastWrites.set(url, settled)
  return written
}

/** Longest time from the first try to the last one, ms. */
const busyTimeoutMs = 3000

/** The server has done nothing: others held the database, or it has all the connections that it may have. */
const isRefusedForNow = (error: unknown): boolean =>
  isBusy(error) || errorCode(knownError(error)?.cause) === tooManyCode

/** Tries again what the server refused for now. The pauses grow and are random, so that the processes spread. */
const retryBusy = <T>(run: () => Promise<T>): Promise<T> =>
  pRetry(run, {
    retries: 10,
    minTimeout: 20,
    factor: 1.7,
    randomize: true,
    maxRetryTime: busyTimeoutMs,
    shouldRetry: ({ error }) => isRefusedForNow(error),
  })

const writeWords = /\b(?:insert|update|delete|replace)\b/i

/** False for every statement that may write. */
const onlyReads = (statement: InStatement | [string, unknown?]): boolean => {
  const sql =
    typeof statement === 'string' ? statement : Array.isArray(statement) ? statement[0] : statement.sql
  return /^\s*(?:select|pragma)\b/i.test(sql) || (/^\s*with\b/i.test(sql) && !writeWords.test(sql))
}

/**
 * Opens a client whose writes wait here for each other. The server has one writer, and writes that wait at the server take
 * processor time from the running one: ten writes at once after a pause kept two cores busy for ten seconds and more.
 */
export function openServer(config: Omit<Config, 'fetch'>): Client {
  const client = createClient({ ...config, fetch: serverFetch })
  const [execute, batch] = [client.execute.bind(client), client.batch.bind(client)]
  const write = <T>(run: () => Promise<T>) => afterEarlierWrites(config.url, () => retryBusy(run))
  client.execute = (statement: InStatement, args?: Parameters<Client['execute']>[1]) => {
    const run = () => (typeof statement === 'string' ? execute(statement, args) : execute(statement))
    return onlyReads(statement) ? retryBusy(run) : write(run)
  }
  client.batch = (statements, mode) => {
    const run = () => batch(statements, mode)
    return statements.every(onlyReads) ? retryBusy(run) : write(run)
  }
  return client
}
