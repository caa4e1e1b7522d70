/**
 * Exchanges the databases for restored ones. The restored files are complete beside their places before `restore.json` names them.
 * From that moment on every start finishes the exchange; before it nothing has changed.
 */
import { existsSync } from 'node:fs'
import { readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import * as z from 'zod'
import { acceptDatabases } from '../database-marks.ts'
import { removeDurably, syncFolder, writeDurably } from '../durable-file.ts'

const Exchange = z.object({
  files: z.array(z.object({ name: z.enum(['registry', 'telemetry']), path: z.string() })),
})
export type ExchangedFiles = z.output<typeof Exchange>['files']

const exchangeFile = (dataDir: string) => join(dataDir, 'restore.json')

/** Where a restored database waits to be exchanged. */
export const restoredFile = (path: string): string => `${path}.restored`

/** Removes restored files that wait. */
export async function discardRestored(path: string): Promise<void> {
  for (const suffix of ['', '-wal', '-shm', '-journal'])
    await rm(`${restoredFile(path)}${suffix}`, { force: true })
}

/** Finishes an exchange that has begun. The data directory must be locked. */
export async function finishExchange(dataDir: string): Promise<void> {
  const file = exchangeFile(dataDir)
  if (!existsSync(file)) return
  const { files } = Exchange.parse(JSON.parse(await readFile(file, 'utf8')))
  for (const { path } of files) {
    if (!existsSync(restoredFile(path))) continue
    // A log of the old file must never stand beside the new one.
    for (const suffix of ['-wal', '-shm', '-journal']) await rm(`${path}${suffix}`, { force: true })
    await syncFolder(dirname(path))
    await rename(restoredFile(path), path)
    await syncFolder(dirname(path))
  }
  await acceptDatabases(dataDir, files)
  await removeDurably(file)
}

/** Puts the restored files, which are complete and durable, in their places. The data directory must be locked. */
export async function exchange(dataDir: string, files: ExchangedFiles): Promise<void> {
  await writeDurably(exchangeFile(dataDir), JSON.stringify({ files }))
  await finishExchange(dataDir)
}
