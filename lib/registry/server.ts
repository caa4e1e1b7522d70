/**
 * How a libSQL server is spoken to: every request ends in time, a server that is away is told as such, and a process
 * writes one thing after the other.
 */
import { type Client, type Config, createClient, type InStatement } from '@libsql/client'
import { AppError } from '../errors.ts'

/** What was wrong with the server: `NETWORK_ECONNREFUSED`, `HTTP_503`. */
class ServerFault extends Error {
  override readonly name = 'ServerFault'
  readonly code: string
  constructor(code: string) {
    super(`libSQL server: ${code}`)
    this.code = code
  }
}

/** Below the 10 s that a function has, ms. */
const timeoutMs = 5000

const away = (code: string) =>
  new AppError('UNAVAILABLE', 'The database cannot be used at the moment.', {
    retryAfterS: 2,
    cause: new ServerFault(code),
  })

const codeOf = (error: unknown): string => {
  const { code, name, cause } = error as { code?: unknown; name?: string; cause?: unknown }
  if (typeof code === 'string') return code
  return cause instanceof Error ? codeOf(cause) : (name ?? 'UNKNOWN')
}

/** @throws {AppError} UNAVAILABLE when nothing answers within 5 s, or with 5xx. */
async function serverFetch(request: Request): Promise<Response> {
  const signal = AbortSignal.any([request.signal, AbortSignal.timeout(timeoutMs)])
  const response = await fetch(request, { signal }).catch((error: unknown) => {
    throw away(`NETWORK_${codeOf(error).toUpperCase()}`)
  })
  if (response.status >= 500) throw away(`HTTP_${response.status}`)
  return response
}

/** How long a write waits for those before it, ms. */
const turnMs = 4000

/** The last write of this process to each server. */
const lines = new Map<string, Promise<unknown>>()

/** @throws {AppError} UNAVAILABLE when its turn does not come in time. */
const inTurn = <T>(url: string, write: () => Promise<T>): Promise<T> => {
  const before = lines.get(url) ?? Promise.resolve()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(away('WRITES_WAIT')), turnMs)
  })
  const written = Promise.race([before, late])
    .finally(() => clearTimeout(timer))
    .then(write)
  lines.set(url, Promise.allSettled([before, written]))
  return written
}

const writes = /\b(?:insert|update|delete|replace)\b/i

/** What may be a write counts as one. */
const reads = (statement: InStatement | [string, unknown?]): boolean => {
  const sql =
    typeof statement === 'string' ? statement : Array.isArray(statement) ? statement[0] : statement.sql
  return /^\s*(?:select|pragma)\b/i.test(sql) || (/^\s*with\b/i.test(sql) && !writes.test(sql))
}

/**
 * A client of a server. Such a server has one writer, and those that wait there for their turn take its processors from
 * the one that has it: after a pause ten at once kept two cores busy for ten seconds and more. So they wait here.
 */
export function openServer(config: Omit<Config, 'fetch'>): Client {
  const client = createClient({ ...config, fetch: serverFetch })
  const [execute, batch] = [client.execute.bind(client), client.batch.bind(client)]
  client.execute = (statement: InStatement, args?: Parameters<Client['execute']>[1]) => {
    const run = () => (typeof statement === 'string' ? execute(statement, args) : execute(statement))
    return reads(statement) ? run() : inTurn(config.url, run)
  }
  client.batch = (statements, mode) => {
    const run = () => batch(statements, mode)
    return statements.every(reads) ? run() : inTurn(config.url, run)
  }
  return client
}
