/**
 * A connection to a file that keeps its statements prepared. `@libsql/client` prepares each anew, a sixth of what a group
 * of 32 readings costs.
 */
import Database from 'libsql'
import type { FileConnection, Row, Run, Statement } from './embedded-sql.ts'

/** Statements kept; those that were not used for longest are prepared again. */
const maxPrepared = 100

/** Pages of the log before it is copied into the file: a page that changes often is copied once for many changes. */
const checkpointPages = 4000

/** Memory for pages, KiB. */
const cacheKiB = 16_384

/** Milliseconds to wait for another process that writes. */
const busyMs = 5000

interface Prepared {
  readonly statement: Database.Statement
  readonly reader: boolean
}

/**
 * @param readOnly refuses every write, and leaves the file as it is.
 * @throws {Error} with a code of SQLite when it cannot be opened.
 */
export function openFile(path: string, readOnly: boolean): FileConnection {
  const db = new Database(path, { timeout: busyMs })
  if (readOnly) db.exec('PRAGMA query_only = ON')
  const kept = new Map<string, Prepared>()

  const prepare = (sql: string): Prepared => {
    let prepared = kept.get(sql)
    kept.delete(sql)
    if (prepared === undefined) {
      const statement = db.prepare(sql).safeIntegers(true)
      prepared = { statement, reader: statement.reader }
      if (prepared.reader) statement.raw(true)
      if (kept.size >= maxPrepared) kept.delete(kept.keys().next().value as string)
    }
    kept.set(sql, prepared)
    return prepared
  }
  const run = ({ sql, args = [] }: Statement): Row[] => {
    const { statement, reader } = prepare(sql)
    if (reader) return statement.all(args) as Row[]
    statement.run(args)
    return []
  }

  /** What SQLite says of commits by others; our own do not change it. */
  const version = () => run({ sql: 'PRAGMA data_version' })[0]?.[0]
  let seen: unknown

  /** @param ends COMMIT, or ROLLBACK to leave everything as it was. */
  const transaction = <T>(
    work: (run: Run, changedElsewhere: boolean) => T,
    ends: 'COMMIT' | 'ROLLBACK',
  ): T => {
    run({ sql: 'BEGIN IMMEDIATE' })
    try {
      const now = version()
      const result = work(run, now !== seen)
      run({ sql: ends })
      if (ends === 'COMMIT') seen = now
      return result
    } catch (error) {
      // A full disk or the like has rolled back by itself.
      if (db.inTransaction) run({ sql: 'ROLLBACK' })
      throw error
    }
  }

  return {
    execute: async (statement) => run(statement),
    transaction: (work) => transaction(work, 'COMMIT'),
    rearrange(work) {
      // Its pages reach the disk with those of the next write, in their order.
      db.exec('PRAGMA synchronous = NORMAL')
      try {
        return transaction(work, 'COMMIT')
      } finally {
        db.exec('PRAGMA synchronous = FULL')
      }
    },
    rehearse(work) {
      // What is not committed stays in memory, so that a full disk does not matter.
      db.exec('PRAGMA query_only = OFF; PRAGMA cache_spill = OFF')
      try {
        return transaction(work, 'ROLLBACK')
      } finally {
        db.exec(`PRAGMA cache_spill = ON; PRAGMA query_only = ${readOnly ? 'ON' : 'OFF'}`)
      }
    },
    async script(sql) {
      db.exec(sql)
    },
    tune() {
      for (const [name, value] of [
        ['journal_mode', 'WAL'],
        ['synchronous', 'FULL'],
        ['wal_autocheckpoint', checkpointPages],
        ['cache_size', -cacheKiB],
      ])
        run({ sql: `PRAGMA ${name} = ${value}` })
    },
    close() {
      kept.clear()
      db.close()
    },
  }
}
