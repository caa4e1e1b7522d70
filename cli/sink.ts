/** Where an export goes: a file, which appears under its name when it is complete, or standard output. */
import { open, rename, rm } from 'node:fs/promises'
import { UsageError } from '../scripts/command.ts'
import { Output } from './output.ts'

export interface Sink {
  write(text: string): Promise<void>
  /** Makes the file complete. */
  close(): Promise<void>
  /** Removes what was written. */
  discard(): Promise<void>
}

/** @throws {UsageError} when the file cannot be written. */
export async function openSink(path: string | undefined): Promise<Sink> {
  if (path === undefined) {
    const output = new Output(false)
    return { write: (text) => output.write(text), close: async () => {}, discard: async () => {} }
  }
  const unfinished = `${path}.unfinished`
  const file = await open(unfinished, 'w', 0o600).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${path} cannot be written (${error.code}).`)
  })
  return {
    write: async (text) => file.writeFile(text),
    async close() {
      await file.sync()
      await file.close()
      await rename(unfinished, path)
    },
    async discard() {
      await file.close()
      await rm(unfinished, { force: true })
    },
  }
}
