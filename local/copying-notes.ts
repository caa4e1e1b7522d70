/** What a copy has done already, in a file, so that the next run goes on from there. */
import { existsSync } from 'node:fs'
import { open, readFile, rename, rm } from 'node:fs/promises'
import type { TimeRange } from '../lib/telemetry/store.ts'
import type { Done } from './copying.ts'
import { step } from './step.ts'

export interface Noted {
  /** Both sides and the arguments, as JSON: what is noted holds for the same copy only. */
  readonly copy: string
  readonly range: TimeRange
  readonly done: Done
}

/** @throws {Error} one sentence when there is a file that cannot be read. */
export async function readNoted(file: string): Promise<Noted | undefined> {
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
    throw new Error(`${file} cannot be read: begin anew with --restart.`)
  }
}

/** Whole or not at all, however this process ends. @throws {Error} one sentence */
export function writeNoted(file: string, { copy, range, done }: Noted): Promise<void> {
  const text = JSON.stringify({ copy, range, done: Object.fromEntries(done) }, (_name, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  )
  return step(`${file} cannot be written`, async () => {
    const handle = await open(`${file}.new`, 'w', 0o600)
    await handle.writeFile(`${text}\n`)
    await handle.sync()
    await handle.close()
    await rename(`${file}.new`, file)
  })
}

export const removeNoted = (file: string): Promise<void> => rm(file, { force: true })
