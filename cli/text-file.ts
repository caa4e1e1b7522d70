/** Reads the files that commands import. */
import { readFile } from 'node:fs/promises'
import { UsageError } from '../scripts/command.ts'

/** @throws {UsageError} also for a text that is not UTF-8: it would be stored with replacement characters. */
export const readText = async (file: string): Promise<string> => {
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${file} cannot be read (${error.code}).`)
  })
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new UsageError(`${file} is not UTF-8: save it as UTF-8.`)
  }
}
