/** The one way to a libSQL database: a file of this computer, or a server. */
import { type Client, createClient, type IntMode } from '@libsql/client'
import { busyAsUnavailable } from './errors.ts'
import { openServer } from './server.ts'

export interface DatabaseOptions {
  /** `file:<path>`, or the URL of a server: `libsql:`, `https:` or `http:`. */
  readonly url: string
  readonly authToken?: string | undefined
  /** The type of integers in rows; `number` by default. */
  readonly intMode?: IntMode
}

/** Time that a statement waits for another process that holds the file, ms. */
const busyTimeoutMs = 5000

/** One connection: libSQL runs a file's statements on the calling thread, and a PRAGMA holds only for its connection. */
async function openFile({ url, intMode = 'number' }: DatabaseOptions): Promise<Client> {
  const client = createClient({ url, intMode, concurrency: 1, timeout: busyTimeoutMs })
  await client.execute('PRAGMA journal_mode = WAL')
  await client.execute('PRAGMA synchronous = FULL')
  await client.execute('PRAGMA foreign_keys = ON')
  return client
}

/** Makes the errors of a busy database UNAVAILABLE, which clients may retry. */
function reportBusy(client: Client): Client {
  for (const name of ['execute', 'batch', 'executeMultiple', 'transaction'] as const) {
    const run = client[name].bind(client) as (...args: unknown[]) => Promise<never>
    client[name] = (...args: unknown[]) =>
      run(...args).catch((error: unknown) => {
        throw busyAsUnavailable(error)
      })
  }
  return client
}

/**
 * Opens a database. Every write is on the disk before it resolves.
 * @throws {Error} when a file cannot be opened. Statements throw {@link AppError} UNAVAILABLE when the database is busy, or
 * when the server does not answer.
 */
export async function openDatabase(options: DatabaseOptions): Promise<Client> {
  const { url, authToken, intMode = 'number' } = options
  if (url.startsWith('file:')) return reportBusy(await openFile(options))
  return reportBusy(openServer({ url, intMode, ...(authToken === undefined ? {} : { authToken }) }))
}
