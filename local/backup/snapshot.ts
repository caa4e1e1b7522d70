/** Copies SQLite files that other processes are writing, all as they were at one moment. */
import { open } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import Database from 'libsql'
import { errorCode } from '../../lib/errors.ts'

export interface Copy {
  readonly from: string
  readonly to: string
}

/** Time that one try waits for the lock of a file, ms. Another file may be locked meanwhile, and its writers wait too. */
const lockMs = 1000
const maxTries = 60
const retryMs = 50

const bufferBytes = 4 * 1024 * 1024

/**
 * Begins a read transaction on each file at the same moment: no other process can write while they begin.
 * @throws {Error} when the files stay busy for a minute.
 */
async function readersOf(paths: readonly string[]): Promise<Database.Database[]> {
  for (let tries = 1; ; tries++) {
    const opened: Database.Database[] = []
    const openOne = (path: string) => {
      const db = new Database(path, { timeout: lockMs })
      opened.push(db)
      return db
    }
    try {
      const locks = paths.map((path) => {
        const lock = openOne(path)
        lock.exec('BEGIN IMMEDIATE')
        return lock
      })
      const readers = paths.map((path) => {
        const reader = openOne(path)
        reader.exec('BEGIN')
        // The transaction sees the database of its first statement.
        reader.prepare('SELECT count(*) FROM sqlite_schema').get()
        return reader
      })
      for (const lock of locks) {
        lock.exec('ROLLBACK')
        lock.close()
      }
      return readers
    } catch (error) {
      for (const db of opened) db.close()
      if (errorCode(error) !== 'SQLITE_BUSY' || tries >= maxTries) throw error
    }
    await sleep(retryMs)
  }
}

/** Writes every page that the transaction sees. */
async function copyPages(
  reader: Database.Database,
  to: string,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const file = await open(to, 'w', 0o600)
  try {
    const [pages] = reader.prepare('PRAGMA page_count').raw(true).get() as unknown as [number]
    const page = reader.prepare('SELECT data FROM sqlite_dbpage WHERE pgno = ?').raw(true)
    let waiting: Uint8Array[] = []
    let bytes = 0
    const flush = async () => {
      await file.writeFile(Buffer.concat(waiting))
      onBytes(bytes)
      waiting = []
      bytes = 0
    }
    for (let number = 1; number <= pages; number++) {
      const [data] = page.get(number) as unknown as [Uint8Array]
      waiting.push(data)
      bytes += data.length
      if (bytes >= bufferBytes) await flush()
    }
    await flush()
    await file.sync()
  } finally {
    await file.close()
  }
}

/**
 * Copies database files. The copies hold every transaction that was committed before the call, and those that were committed until
 * one later moment, which is the same for all of them. Writers wait for some milliseconds.
 * @param copies the file that is written most comes first: its lock is waited for while no other one is held.
 */
export async function copyDatabases(
  copies: readonly Copy[],
  onBytes: (bytes: number) => void = () => {},
): Promise<void> {
  const readers = await readersOf(copies.map(({ from }) => from))
  try {
    for (const [at, { to }] of copies.entries()) {
      const reader = readers[at]
      if (reader !== undefined) await copyPages(reader, to, onBytes)
    }
  } finally {
    for (const reader of readers) {
      // A statement that was not collected yet keeps a closed connection, and with it the transaction.
      reader.exec('ROLLBACK')
      reader.close()
    }
  }
}

/**
 * Opens a copy, and checks that all its pages are right.
 * @throws {Error} with the name, for a file that is damaged.
 */
export function verifyDatabase(name: string, path: string): void {
  let db: Database.Database | undefined
  let result: unknown
  try {
    db = new Database(path)
    // A copy is one file, without a write-ahead log beside it.
    db.exec('PRAGMA journal_mode = DELETE')
    result = (db.prepare('PRAGMA quick_check(1)').raw(true).get() as unknown as [string])[0]
  } catch (error) {
    result = errorCode(error)
  } finally {
    db?.close()
  }
  if (result !== 'ok') throw new Error(`The ${name} database in ${path} is damaged (${String(result)}).`)
}
