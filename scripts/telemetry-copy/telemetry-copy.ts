/** `npm run telemetry:copy`: copies the telemetry of one store into the other, and compares both by counts. */
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Config, embeddedDatabaseLocation, loadConfig, loadEnvFile } from '../../lib/config.ts'
import { AppError, errorCode } from '../../lib/errors.ts'
import { createLog } from '../../lib/log.ts'
import { openEmbedded as openEmbeddedDatabase } from '../../lib/telemetry/embedded/open.ts'
import { prepareServer } from '../../lib/telemetry/embedded/writer.ts'
import { openInfluxStore } from '../../lib/telemetry/influx/store.ts'
import { nowNs } from '../../lib/telemetry/query.ts'
import type { DrainableSpool } from '../../lib/telemetry/spool.ts'
import type { TelemetryStore } from '../../lib/telemetry/store.ts'
import { formatTime } from '../../lib/telemetry/time.ts'
import { lockDataDir } from '../../local/data-dir.ts'
import { prepareBucket } from '../../local/databases.ts'
import { describeFailure } from '../../local/describe-failure.ts'
import { runCommand } from '../command.ts'
import { type Arguments, help, parseArguments, rangeOf, type Side } from './arguments.ts'
import { type Compared, compareReadings } from './comparing.ts'
import { type Copied, type CopyOptions, copyReadings } from './copying.ts'
import { type Notes, readNotes, removeNotes, writeNotes } from './notes.ts'
import { formatDuration, formatNumber, missingTable, mostRows, ProgressDisplay, plural } from './progress.ts'

interface Opened {
  readonly store: TelemetryStore
  /** Readings that waited for InfluxDB; only beside the embedded store. */
  readonly spool?: DrainableSpool
  /** Its name for output, without a secret. */
  readonly shown: string
}

type Role = 'from' | 'to'

const log = createLog('silent')
/** Longer than those of a server: no client waits here, and slices are large, ms. */
const timeoutMs = { write: 30_000, query: 60_000 }

const openInflux = async ({ influx, retentionDays }: Config, role: Role): Promise<Opened> => {
  if (influx === undefined)
    throw new Error(`--${role} influxdb needs the settings INFLUXDB_URL and INFLUXDB_TOKEN.`)
  if (role === 'to') await prepareBucket(influx, retentionDays * 86_400_000, log)
  const store = openInfluxStore({ connection: influx, log, timeoutMs })
  const unreadable =
    'INFLUXDB_BUCKET cannot be read: InfluxDB has to run there, have it, and let INFLUXDB_TOKEN read it'
  if (role === 'from')
    await describeFailure(unreadable, () =>
      store.check().catch((error: Error) => Promise.reject(error.cause)),
    )
  const shown = `InfluxDB at ${new URL(influx.url).host}, bucket ${influx.bucket} of ${influx.org}`
  return { store, shown }
}

const openEmbedded = async (config: Config, role: Role): Promise<Opened> => {
  const at = embeddedDatabaseLocation(config)
  const shown = `the embedded store ${'file' in at ? at.file : `at ${new URL(at.url).host}`}`
  if (role === 'from' && 'file' in at && !existsSync(at.file))
    throw new Error(`There is no ${at.file}: DATA_DIR must be the folder of the IoTFlow server.`)
  const embedded = await describeFailure(`The telemetry of ${shown} cannot be used`, async () => {
    if ('url' in at && role === 'to') await prepareServer(at.url, at.authToken)
    return openEmbeddedDatabase({ at, log, retentionMs: 0, readOnly: role === 'from' })
  })
  const spool = embedded.spool({ maxBytes: Number.POSITIVE_INFINITY, maxAgeMs: Number.POSITIVE_INFINITY })
  return { store: embedded.store, spool, shown }
}

const openSide = (side: Side, config: Config, role: Role) =>
  side === 'influxdb' ? openInflux(config, role) : openEmbedded(config, role)

/** Moves the readings that waited for InfluxDB in the spool into the embedded store. @returns the number of readings. */
const emptySpool = async (spool: DrainableSpool, store: TelemetryStore): Promise<number> => {
  let moved = 0
  for (;;) {
    const waiting = await spool.oldest({ maxMessages: 1000, maxBytes: 1_000_000 })
    if (waiting.length === 0) return moved
    for (const outcome of await store.write(waiting.map(({ entry }) => entry)))
      if ('unavailable' in outcome) throw outcome.unavailable
    await spool.settle(waiting.map(({ id }) => id))
    for (const { entry } of waiting) moved += entry.readings.length
  }
}

const print = (text: string) => process.stdout.write(`${text}\n`)

const printCopied = (
  { readings, devices, tooOld, refused }: Copied,
  seconds: number,
  retentionDays: number,
) => {
  const rate = formatNumber(Math.round(readings / Math.max(0.001, seconds)))
  const what = `${plural(readings, 'reading')} of ${plural(devices, 'device')}`
  print(`Copied ${what} in ${formatDuration(seconds)} (${rate}/s).`)
  if (tooOld > 0) print(`Left out ${plural(tooOld, 'reading')} older than RETENTION_DAYS (${retentionDays}).`)
  for (const { deviceId, time } of refused.slice(0, mostRows))
    print(`Refused by the destination: device ${deviceId}, ${formatTime(time)}.`)
  if (refused.length > mostRows) print(`and ${plural(refused.length - mostRows, 'reading')} more`)
}

/** @returns the exit code: 0 when the destination has every reading. */
const printCompared = ({ missing, arrivedLater }: Compared, { refused }: Copied): number => {
  if (arrivedLater > 0)
    print(`${plural(arrivedLater, 'reading')} came to the source meanwhile: run it again to copy them.`)
  if (missing.length === 0 && refused.length === 0) {
    print('Compared by counts: nothing is missing.')
    return 0
  }
  if (missing.length > 0) process.stdout.write(`\n${missingTable(missing)}\n`)
  const counted = missing.reduce((sum, part) => sum + part.source - part.destination, 0)
  print(`FAILED: ${plural(Math.max(counted, refused.length), 'reading')} missing.`)
  return 1
}

/** Opens both stores. @param ending gets the steps that close them. */
const openBoth = async (
  config: Config,
  { from, to }: Arguments,
  ending: (() => unknown)[],
): Promise<{ source: Opened; destination: Opened }> => {
  const { dataDir } = config
  if (to === 'embedded' && 'file' in embeddedDatabaseLocation(config)) ending.push(await lockDataDir(dataDir))
  const source = await openSide(from, config, 'from')
  ending.push(() => source.store.close())
  const destination = await openSide(to, config, 'to')
  ending.push(() => destination.store.close())
  await describeFailure(`DATA_DIR ${dataDir} cannot be made`, () =>
    mkdir(dataDir, { recursive: true, mode: 0o700 }),
  )
  return { source, destination }
}

/** The notes of an interrupted copy, or new ones. @throws {Error} one sentence when they are of another copy. */
const openNotes = async (file: string, fresh: Notes, restart: boolean): Promise<Notes> => {
  const notes = restart ? undefined : await readNotes(file)
  if (notes === undefined) return fresh
  if (notes.copy !== fresh.copy)
    throw new Error(
      `Another copy was interrupted (${file}): repeat it with its own options, or start from the beginning with --restart.`,
    )
  return notes
}

/** Writes notes one after the other, at most once a second while readings are copied. */
class NotesWriter {
  readonly #file: string
  readonly #notes: Notes
  #writing: Promise<void> = Promise.resolve()
  #writtenAt = 0

  constructor(file: string, notes: Notes) {
    this.#file = file
    this.#notes = notes
  }

  writeNow(): Promise<void> {
    this.#writtenAt = performance.now()
    this.#writing = this.#writing.then(() => writeNotes(this.#file, this.#notes))
    this.#writing.catch(() => undefined)
    return this.#writing
  }

  writeSometimes(): void {
    if (performance.now() - this.#writtenAt > 1000) void this.writeNow()
  }

  /** Waits for the last write. @throws {Error} one sentence when one of them failed. */
  async remove(): Promise<void> {
    await this.#writing
    await removeNotes(this.#file)
  }
}

/** Aborted by Ctrl-C. */
const interruption = (): AbortSignal => {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => controller.abort())
  return controller.signal
}

/** @returns the exit code. @throws {Error} one sentence */
const copy = async (asked: Arguments, ending: (() => unknown)[]): Promise<number> => {
  loadEnvFile('.env')
  const config = loadConfig()
  const { dataDir, retentionDays } = config
  const range = rangeOf(asked, nowNs())
  const { source, destination } = await openBoth(config, asked, ending)
  const file = join(dataDir, `telemetry-copy-${asked.from}-${asked.to}.json`)
  const identity = [source.shown, destination.shown, asked.since, asked.until, asked.devices]
  const fresh: Notes = { copy: JSON.stringify(identity), range, done: new Map() }
  const notes = await openNotes(file, fresh, asked.restart)
  print(`From ${source.shown}\nto   ${destination.shown}`)
  if (notes !== fresh) print('Going on where the last copy was interrupted.')

  const display = new ProgressDisplay(process.stdout)
  const writer = new NotesWriter(file, notes)
  await writer.writeNow()
  const options: CopyOptions = {
    from: source.store,
    to: destination.store,
    devices: asked.devices,
    range: notes.range,
    done: notes.done,
    // A minute less than the retention: the readings must still be kept when they are written.
    keptFrom: () =>
      retentionDays === 0 ? 0n : nowNs() - BigInt(retentionDays * 86_400 - 60) * 1_000_000_000n,
    onProgress(progress) {
      display.show(progress)
      writer.writeSometimes()
    },
    signal: interruption(),
  }
  const copied = await copyReadings(options).finally(() => {
    display.clear()
    return writer.writeNow()
  })
  if (copied.interrupted) {
    print(`Ended after ${plural(copied.readings, 'reading')}: the same command goes on from here.`)
    return 1
  }
  printCopied(copied, display.seconds(), retentionDays)
  if (destination.spool !== undefined) {
    const moved = await emptySpool(destination.spool, destination.store)
    if (moved > 0) print(`Moved ${plural(moved, 'reading')} that waited for InfluxDB in the spool.`)
  }
  const compared = await compareReadings(options).finally(() => display.clear())
  await writer.remove()
  return printCompared(compared, copied)
}

/** An error of a store as a sentence for the operator. */
const describeStoreError = (error: unknown): never => {
  if (!(error instanceof AppError)) throw error
  const code = errorCode(error.cause)
  throw new Error(
    `A store stays unavailable${code ? ` (${code})` : ''}. The progress is noted: the same command goes on from there.`,
    { cause: error },
  )
}

/**
 * Copies telemetry as the arguments say, and prints what it does.
 * @returns the exit code: 0 when the destination has every reading.
 * @throws {Error} one sentence
 */
export async function copyTelemetry(asked: Arguments): Promise<number> {
  const ending: (() => unknown)[] = []
  try {
    return await copy(asked, ending).catch(describeStoreError)
  } finally {
    for (const end of ending.reverse()) await end()
  }
}

export const main = () =>
  runCommand(async () => {
    const asked = parseArguments(process.argv.slice(2))
    if (asked === undefined) {
      process.stdout.write(help)
      return 0
    }
    return copyTelemetry(asked)
  })
