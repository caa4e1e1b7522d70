/** The folder of the settings, which one process has at a time. */
import { mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { createClient } from '@libsql/client'
import { codeOf, step } from './step.ts'

/**
 * Takes the folder for this process: a second one would answer from memory what this one changes. The lock is the
 * system's and ends with the process, however that ends.
 * @returns what gives the folder back.
 * @throws {Error} one sentence when another process has it, or it cannot be written to.
 */
export async function takeFolder(dataDir: string): Promise<() => void> {
  await step(`DATA_DIR ${dataDir} cannot be made`, () => mkdir(dataDir, { recursive: true, mode: 0o700 }))
  const unusable = `DATA_DIR ${dataDir} cannot be written to`
  return step(unusable, async () => {
    // Opened by the system first: its reason is clearer than the database's.
    await (await open(join(dataDir, 'lock'), 'a', 0o600)).close()
    const lock = createClient({ url: `file:${join(dataDir, 'lock')}`, concurrency: 1, timeout: 0 })
    await lock.execute('PRAGMA journal_mode = MEMORY')
    const taken = await lock.transaction('write')
    return () => {
      taken.close()
      lock.close()
    }
  }).catch((error: Error) => {
    if (codeOf(error.cause) !== 'SQLITE_BUSY') throw error
    throw new Error(
      `DATA_DIR ${dataDir} is in use by another IoTFlow: end that one, or set DATA_DIR to another folder.`,
    )
  })
}
