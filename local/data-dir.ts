/** The data directory of DATA_DIR: one process at a time uses it. */
import { existsSync } from 'node:fs'
import { mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { createClient } from '@libsql/client'
import { errorCode } from '../lib/errors.ts'
import { finishExchange } from './backup/exchange.ts'
import { describeFailure } from './describe-failure.ts'
import { removeServerFile } from './server-file.ts'

/** A command that looks whether the directory is locked holds the lock for a moment, ms. */
const lockWaitMs = 300

/** Whether a process has locked the data directory. One that does not exist is not locked. */
export async function isDataDirLocked(dataDir: string): Promise<boolean> {
  if (!existsSync(join(dataDir, 'lock'))) return false
  const lock = createClient({ url: `file:${join(dataDir, 'lock')}`, concurrency: 1, timeout: 0 })
  try {
    ;(await lock.transaction('write')).close()
    return false
  } catch (error) {
    if (errorCode(error) === 'SQLITE_BUSY') return true
    throw error
  } finally {
    lock.close()
  }
}

/**
 * Makes the data directory and locks it for this process: a second process would answer from its cache, which does not
 * see changes of this one. The operating system holds the lock, and ends it with the process.
 * A restore that was interrupted is finished, and the note of a killed server is removed.
 * @returns a function that unlocks the directory.
 * @throws {Error} one sentence when another process has the lock, or the directory cannot be written to.
 */
export async function lockDataDir(dataDir: string): Promise<() => void> {
  await describeFailure(`DATA_DIR ${dataDir} cannot be made`, () =>
    mkdir(dataDir, { recursive: true, mode: 0o700 }),
  )
  const unusable = `DATA_DIR ${dataDir} cannot be written to`
  return describeFailure(unusable, async () => {
    // open() reports why a directory cannot be written to; libSQL reports only that it failed.
    await (await open(join(dataDir, 'lock'), 'a', 0o600)).close()
    const lock = createClient({ url: `file:${join(dataDir, 'lock')}`, concurrency: 1, timeout: lockWaitMs })
    await lock.execute('PRAGMA journal_mode = MEMORY')
    const transaction = await lock.transaction('write')
    await removeServerFile(dataDir)
    await finishExchange(dataDir)
    return () => {
      transaction.close()
      lock.close()
    }
  }).catch((error: Error) => {
    if (errorCode(error.cause) !== 'SQLITE_BUSY') throw error
    throw new Error(
      `DATA_DIR ${dataDir} is in use by another IoTFlow: end that one, or set DATA_DIR to another folder.`,
    )
  })
}
