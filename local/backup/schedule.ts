/** Backups that the server makes by itself, in a process of their own: copying many pages would stop requests here. */
import { spawn } from 'node:child_process'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { BackupSettings, Config } from '../../lib/config.ts'
import type { Log } from '../../lib/log.ts'
import { root } from '../../lib/root.ts'

/** `iotflow-20260131T120000Z.backup` */
const nameShape = /^iotflow-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\.backup$/

const nameOf = (time: number): string =>
  `iotflow-${new Date(time).toISOString().replaceAll(/[-:]|\.\d+/g, '')}.backup`

/** When a backup of ours was made, ms since the epoch; undefined for another file. */
const timeOf = (name: string): number | undefined => {
  const parts = nameShape.exec(name)
  if (parts === null) return undefined
  const [, year, month, day, hour, minute, second] = parts.map(Number)
  return Date.UTC(year ?? 0, (month ?? 1) - 1, day, hour, minute, second)
}

/** Time between two looks whether a backup is due, ms. */
const lookEveryMs = 60_000

/** Makes one backup. @throws {Error} when it fails. */
export type RunBackup = (file: string) => Promise<void>

/** Runs `iotflow backup` on the data directory. */
export const backupProcess =
  ({ dataDir }: Config): RunBackup =>
  (file) =>
    new Promise((resolve, reject) => {
      const program = fileURLToPath(new URL('scripts/run.mjs', root))
      const child = spawn(process.execPath, [program, 'cli/iotflow.ts', 'backup', file], {
        env: { ...process.env, DATA_DIR: dataDir },
        stdio: 'ignore',
      })
      child.once('error', reject)
      child.once('close', (code) =>
        code === 0 ? resolve() : reject(new Error(`iotflow backup ended with ${code}`)),
      )
    })

export interface ScheduleOptions {
  readonly settings: BackupSettings
  readonly log: Log
  readonly run: RunBackup
  /** Milliseconds since the epoch. */
  readonly now?: () => number
}

export class BackupSchedule {
  readonly #options: Required<ScheduleOptions>
  readonly #timer: NodeJS.Timeout
  #running: Promise<void> | undefined

  constructor(options: ScheduleOptions) {
    this.#options = { now: Date.now, ...options }
    this.#timer = setInterval(() => this.look(), lookEveryMs)
    this.#timer.unref()
    this.look()
  }

  /** Makes a backup if one is due and none is being made. */
  look(): Promise<void> {
    this.#running ??= this.#backUpIfDue().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** A backup under way is left alone: it is complete or not there. */
  close(): void {
    clearInterval(this.#timer)
  }

  async #backUpIfDue(): Promise<void> {
    const { settings, log, run, now } = this.#options
    try {
      await mkdir(settings.folder, { recursive: true, mode: 0o700 })
      const newest = (await this.#backups()).at(-1)
      // A clock that was set back must not end the backups.
      const age = newest === undefined ? Number.POSITIVE_INFINITY : Math.abs(now() - newest.time)
      if (age < settings.everyMs) return
      const name = nameOf(now())
      await run(join(settings.folder, name))
      log.info('backup made', { file: name })
      const superfluous = (await this.#backups()).slice(0, -settings.keep)
      for (const { name: old } of superfluous) await rm(join(settings.folder, old), { force: true })
    } catch (error) {
      log.error('the scheduled backup failed', { error })
    }
  }

  /** Oldest first. */
  async #backups(): Promise<{ name: string; time: number }[]> {
    const names = await readdir(this.#options.settings.folder)
    return names
      .flatMap((name) => {
        const time = timeOf(name)
        return time === undefined ? [] : [{ name, time }]
      })
      .sort((one, other) => one.time - other.time)
  }
}
