/** The progress of a copy in a file, so that the next run goes on from there. */
import { existsSync } from 'node:fs'
import { open, readFile, rename, rm } from 'node:fs/promises'
import type { TimeRange } from '../../lib/telemetry/store.ts'
import { describeFailure } from '../../local/describe-failure.ts'
import type { Done } from './copying.ts'

export interface Notes {
  /** Both stores and the arguments, as JSON: only a run of the same copy may go on from these notes. */
  readonly copy: string
  readonly range: TimeRange
  readonly done: Done
}

/** @returns undefined when there is no file. @throws {Error} one sentence when the file cannot be read. */
export async function readNotes(file: string): Promise<Notes | undefined> {
  if (!existsSync(file)) return undefined
  try {
    const { copy, range, done } = JSON.parse(await readFile(file, 'utf8')) as {
      copy: string
      range: { from: string; to: string }
      done: Record<string, string>
    }
    return {
      copy,
      range: { from: BigInt(range.from), to: BigInt(range.to) },
      done: new Map(Object.entries(done).map(([id, time]) => [Number(id), BigInt(time)])),
    }
  } catch {
    throw new Error(`${file} cannot be read: start from the beginning with --restart.`)
  }
}

/** Replaces the file at once: it is complete however this process ends. @throws {Error} one sentence */
export function writeNotes(file: string, { copy, range, done }: Notes): Promise<void> {
  const text = JSON.stringify({ copy, range, done: Object.fromEntries(done) }, (_name, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  )
  return describeFailure(`${file} cannot be written`, async () => {
    const handle = await open(`${file}.new`, 'w', 0o600)
    await handle.writeFile(`${text}\n`)
    await handle.sync()
    await handle.close()
    await rename(`${file}.new`, file)
  })
}

export const removeNotes = (file: string): Promise<void> => rm(file, { force: true })
