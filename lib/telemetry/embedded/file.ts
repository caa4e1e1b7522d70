/**
 * A connection to a file that keeps its statements prepared. `@libsql/client` prepares each statement anew, which is a sixth
 * of the cost of a group of 32 readings.
 */
import Database from 'libsql'
import { codeOf, type FileConnection, type Row, type Run, type Statement, StoreFault } from './connection.ts'

/** Prepared statements that are kept; the one that was not used for longest goes first. */
const maxPrepared = 100

/** Pages in the write-ahead log before SQLite copies them into the file: a page that changes often is copied once. */
const checkpointPages = 4000

/** Memory for pages, KiB. */
const cacheKiB = 16_384

/** Longest wait for another process that writes, ms. */
const busyMs = 5000

interface Prepared {
  readonly statement: Database.Statement
  readonly returnsRows: boolean
}

class FileDatabase implements FileConnection {
  readonly #db: Database.Database
  readonly #readOnly: boolean
  readonly #prepared = new Map<string, Prepared>()
  /** SQLite's data version after our last commit; commits of other connections change it, our own do not. */
  #knownVersion: unknown

  constructor(path: string, readOnly: boolean) {
    this.#db = new Database(path, { timeout: busyMs })
    this.#readOnly = readOnly
    if (readOnly) this.#db.exec('PRAGMA query_only = ON')
  }

  #prepare(sql: string): Prepared {
    let prepared = this.#prepared.get(sql)
    this.#prepared.delete(sql)
    if (prepared === undefined) {
      const statement = this.#db.prepare(sql).safeIntegers(true)
      prepared = { statement, returnsRows: statement.reader }
      if (prepared.returnsRows) statement.raw(true)
      const [oldest] = this.#prepared.keys()
      if (oldest !== undefined && this.#prepared.size >= maxPrepared) this.#prepared.delete(oldest)
    }
    this.#prepared.set(sql, prepared)
    return prepared
  }

  readonly #run: Run = ({ sql, args = [] }) => {
    const { statement, returnsRows } = this.#prepare(sql)
    if (returnsRows) return statement.all(args) as Row[]
    statement.run(args)
    return []
  }

  #inTransaction<T>(work: (run: Run, changedElsewhere: boolean) => T, end: 'COMMIT' | 'ROLLBACK'): T {
    this.#run({ sql: 'BEGIN IMMEDIATE' })
    try {
      const version = this.#run({ sql: 'PRAGMA data_version' })[0]?.[0]
      const result = work(this.#run, version !== this.#knownVersion)
      this.#run({ sql: end })
      if (end === 'COMMIT') this.#knownVersion = version
      return result
    } catch (error) {
      // SQLite rolls back by itself after some faults, a full disk for one.
      if (this.#db.inTransaction) this.#run({ sql: 'ROLLBACK' })
      throw error
    }
  }

  async execute(statement: Statement): Promise<Row[]> {
    return this.#run(statement)
  }

  async script(sql: string): Promise<void> {
    this.#db.exec(sql)
  }

  transaction<T>(work: (run: Run, changedElsewhere: boolean) => T): T {
    return this.#inTransaction(work, 'COMMIT')
  }

  transactionWithoutFsync<T>(work: (run: Run, changedElsewhere: boolean) => T): T {
    this.#db.exec('PRAGMA synchronous = NORMAL')
    try {
      return this.#inTransaction(work, 'COMMIT')
    } finally {
      this.#db.exec('PRAGMA synchronous = FULL')
    }
  }

  insert({ sql, args = [] }: Statement): bigint {
    return BigInt(this.#prepare(sql).statement.run(args).lastInsertRowid)
  }

  dryRun<T>(work: (run: Run) => T): T {
    // Uncommitted pages stay in memory, so that a full disk does not matter.
    this.#db.exec('PRAGMA query_only = OFF; PRAGMA cache_spill = OFF')
    try {
      return this.#inTransaction(work, 'ROLLBACK')
    } finally {
      this.#db.exec(`PRAGMA cache_spill = ON; PRAGMA query_only = ${this.#readOnly ? 'ON' : 'OFF'}`)
    }
  }

  applyPragmas(): void {
    for (const [name, value] of [
      ['journal_mode', 'WAL'],
      ['synchronous', 'FULL'],
      ['wal_autocheckpoint', checkpointPages],
      ['cache_size', -cacheKiB],
    ])
      this.#run({ sql: `PRAGMA ${name} = ${value}` })
  }

  close(): void {
    this.#prepared.clear()
    this.#db.close()
  }
}

/**
 * @param readOnly refuses every write and leaves the file as it is.
 * @throws {Error} with a code of SQLite when the file cannot be opened.
 */
export const openFile = (path: string, readOnly: boolean): FileConnection => {
  try {
    return new FileDatabase(path, readOnly)
  } catch (error) {
    // The driver has no code for a file that it cannot open.
    throw codeOf(error) ? error : new StoreFault('SQLITE_CANTOPEN')
  }
}
