/** The build of `dist/cloud`, made once for all test files of a run: it takes longer than many of them. */
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildCloud, contentsFile } from '../../scripts/build.ts'

/** Set by vitest.config.ts: the begin of the run, ms since the epoch. */
declare const testRunStartedAt: number

const lockFile = new URL('../../dist/cloud-build.lock', import.meta.url)

const isBuilt = async (): Promise<boolean> => {
  const file = await stat(contentsFile).catch(() => undefined)
  return file !== undefined && file.mtimeMs > testRunStartedAt
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Builds `dist/cloud`, unless a file of this run has done so; waits while one does. */
export async function builtCloud(): Promise<void> {
  await mkdir(new URL('.', lockFile), { recursive: true })
  while (!(await isBuilt())) {
    const taken = await writeFile(lockFile, String(process.pid), { flag: 'wx' }).then(
      () => true,
      () => false,
    )
    if (taken) {
      try {
        if (!(await isBuilt())) await buildCloud()
      } finally {
        await rm(lockFile, { force: true })
      }
      return
    }
    const holder = Number(await readFile(lockFile, 'utf8').catch(() => process.pid))
    // Left by a run that was killed; an empty file is being written.
    if (holder > 0 && !isAlive(holder)) await rm(lockFile, { force: true })
    await sleep(100)
  }
}
