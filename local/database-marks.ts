/**
 * Notices at the start that a database file is not the one of the last run, or that it lacks changes of it: SQLite opens a file
 * without its `-wal` as if nothing were missing, and a missing file as an empty one.
 *
 * Both files hold the number of their installation and a mark, which grows: `application_id` and `user_version`, so that no table
 * is needed. `databases.json` beside them holds the same. A mark is durable in the databases before it is written into
 * `databases.json`. So after any kill or power cut no database has a lower mark than `databases.json`; a lower one has lost changes.
 */
import { randomInt } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join, relative } from 'node:path'
import Database from 'libsql'
import * as z from 'zod'
import type { Config } from '../lib/config.ts'
import { errorCode } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { type DatabaseFile, databaseFiles } from './database-files.ts'
import { writeDurably } from './durable-file.ts'

/** Time between two marks while a database changes, ms: changes that are lost are noticed if they are older. */
const markEveryMs = 5000

const Mark = z.object({
  /** From the data directory, so that the whole folder may be moved. */
  path: z.string(),
  /** 0: whatever database is there is accepted, for a new installation and after a restore. */
  mark: z.int().min(0),
})
const State = z.object({
  installation: z.int().min(1),
  databases: z.partialRecord(z.enum(['registry', 'telemetry']), Mark),
})
type State = z.output<typeof State>

const stateFile = (dataDir: string) => join(dataDir, 'databases.json')

const writeState = (dataDir: string, state: State) =>
  writeDurably(stateFile(dataDir), `${JSON.stringify(state, undefined, 2)}\n`)

const readState = async (dataDir: string): Promise<State | undefined> => {
  const file = stateFile(dataDir)
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return undefined
    throw new Error(`${file} cannot be read (${errorCode(error)}).`)
  })
  if (text === undefined) return undefined
  try {
    return State.parse(JSON.parse(text))
  } catch {
    throw new Error(`${file} is damaged. ${howToGoOn}`)
  }
}

const howToGoOn =
  'Bring the missing files back, or restore a backup with `npm run manage -- restore FILE`. To go on with what is there: `npm run manage -- doctor --accept-data`.'

/** @throws {Error} one sentence when the file cannot be used. */
const useMarked = <T>(
  { name, path }: DatabaseFile,
  use: (db: Database.Database, found: { installation: number; mark: number }) => T,
): T => {
  let db: Database.Database | undefined
  try {
    const opened = new Database(path, { timeout: 5000 })
    db = opened
    const numberOf = (pragma: string) =>
      (opened.prepare(`PRAGMA ${pragma}`).raw(true).get() as unknown as [number] | undefined)?.[0] ?? 0
    return use(db, { installation: numberOf('application_id'), mark: numberOf('user_version') })
  } catch (error) {
    const code = errorCode(error)
    throw new Error(`The ${name} in ${path} cannot be used${code ? ` (${code})` : ''}.`, { cause: error })
  } finally {
    db?.close()
  }
}

/** What is wrong with one database; undefined when nothing is. */
const faultOf = (dataDir: string, file: DatabaseFile, state: State | undefined): string | undefined => {
  const { name, path } = file
  const known = state?.databases[name]
  const isElsewhere = known !== undefined && known.path !== relative(dataDir, path)
  if (!existsSync(path))
    return known === undefined || known.mark === 0 || isElsewhere ? undefined : `${path} is gone`
  if (known?.mark === 0) return undefined
  const { installation, mark } = useMarked(file, (_db, found) => found)
  if (state === undefined || known === undefined || isElsewhere) {
    if (installation === 0 || installation === state?.installation) return undefined
    return `${path} comes from another data directory and was copied without databases.json, so that changes may be missing in it`
  }
  if (installation !== 0 && installation !== state.installation)
    return `${path} is not the database of the last run: it comes from another data directory`
  if (installation === 0 || mark < known.mark)
    return `${path} lacks changes of the last run: it was probably copied or moved without its file ${name}.db-wal`
  return undefined
}

const faultsOf = async (config: Config): Promise<{ state: State | undefined; faults: string[] }> => {
  const state = await readState(config.dataDir)
  const faults = databaseFiles(config).flatMap((file) => faultOf(config.dataDir, file, state) ?? [])
  return { state, faults }
}

/** One sentence for each database that is not the one of the last run or lacks changes of it. */
export const databaseFaults = async (config: Config): Promise<string[]> => (await faultsOf(config)).faults

/** Makes the next start accept the databases that are there. The data directory must be locked. */
export async function acceptDatabases(dataDir: string, files: readonly DatabaseFile[]): Promise<void> {
  const databases = Object.fromEntries(
    files.map(({ name, path }) => [name, { path: relative(dataDir, path), mark: 0 }]),
  )
  await writeState(dataDir, { installation: newInstallation(), databases })
}

const newInstallation = () => randomInt(1, 2 ** 31)

const setMark = (file: DatabaseFile, installation: number, mark: number): void =>
  useMarked(file, (db) => {
    db.exec(
      `PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN IMMEDIATE;
       PRAGMA application_id = ${installation}; PRAGMA user_version = ${mark}; COMMIT`,
    )
    // A copy without the -wal must hold the mark too.
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  })

/**
 * Checks the database files of a locked data directory, and marks them for this run. Missing files are made.
 * @returns the mark of this run; undefined where the databases are on a server.
 * @throws {Error} a sentence for each database that lost something, and how to go on.
 */
export async function markForStart(config: Config): Promise<number | undefined> {
  const { dataDir } = config
  const files = databaseFiles(config)
  if (files.length === 0) return undefined
  const { state, faults } = await faultsOf(config)
  if (faults.length > 0) throw new Error(`${faults.join('.\n')}.\n${howToGoOn}`)
  const installation = state?.installation ?? newInstallation()
  const entries = (mark: number | undefined): State['databases'] =>
    Object.fromEntries(
      files.map(({ name, path }) => [
        name,
        { path: relative(dataDir, path), mark: mark ?? state?.databases[name]?.mark ?? 0 },
      ]),
    )
  // The file comes first: a database with a mark never stands in a folder without databases.json.
  if (files.some(({ name }) => state?.databases[name] === undefined))
    await writeState(dataDir, { installation, databases: entries(undefined) })
  const marks = files.map((file) => useMarked(file, (_db, { mark }) => mark))
  const known = files.map(({ name }) => state?.databases[name]?.mark ?? 0)
  const mark = Math.max(...marks, ...known) + 1
  for (const file of files) setMark(file, installation, mark)
  await writeState(dataDir, { installation, databases: entries(mark) })
  return mark
}

/**
 * Moves the write-ahead logs into the database files at the end of a server, so that a copy of the files alone is complete. libSQL
 * leaves a log behind while a statement of a closed connection was not collected yet. What cannot be moved stays in its log.
 */
export function emptyLogs(config: Config): void {
  for (const { path } of databaseFiles(config)) {
    if (!existsSync(path)) continue
    try {
      const db = new Database(path)
      db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
      db.close()
    } catch {
      // The next start reads the log.
    }
  }
}

export interface MarkingOptions {
  readonly config: Config
  readonly log: Log
  /** Of this run: the result of {@link markForStart}. */
  readonly mark: number
  /** Writes a mark into the databases durably, on their own connections: another connection would empty their caches. */
  readonly setMarks: (mark: number) => Promise<void>
}

/** Raises the mark every few seconds while the databases change. */
export class DatabaseMarking {
  readonly #options: MarkingOptions
  readonly #timer: NodeJS.Timeout
  #mark: number
  #changedAt = ''
  #running: Promise<void> = Promise.resolve()

  constructor(options: MarkingOptions) {
    this.#options = options
    this.#mark = options.mark
    this.#timer = setInterval(() => {
      this.#running = this.#running.then(() => this.#markIfChanged())
    }, markEveryMs)
    this.#timer.unref()
  }

  /** Ends the timer, and waits for a mark under way. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#running
  }

  async #markIfChanged(): Promise<void> {
    const { config, log, setMarks } = this.#options
    try {
      if ((await this.#lastChange()) === this.#changedAt) return
      const mark = this.#mark + 1
      await setMarks(mark)
      const state = await readState(config.dataDir)
      if (state === undefined) return
      const databases = Object.fromEntries(
        Object.entries(state.databases).map(([name, entry]) => [name, { ...entry, mark }]),
      )
      await writeState(config.dataDir, { ...state, databases })
      this.#mark = mark
      this.#changedAt = await this.#lastChange()
    } catch (error) {
      log.warn('the databases could not be marked', { error })
    }
  }

  /** Every commit changes the time of a write-ahead log. */
  async #lastChange(): Promise<string> {
    const times = await Promise.all(
      databaseFiles(this.#options.config).map(({ path }) =>
        stat(`${path}-wal`).then(
          ({ mtimeMs }) => mtimeMs,
          () => 0,
        ),
      ),
    )
    return times.join(' ')
  }
}
