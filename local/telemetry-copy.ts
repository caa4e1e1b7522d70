/** `npm run telemetry:copy`: the telemetry of one store into the other, with progress, to be taken up again, compared by counts. */
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Config, ConfigError, embeddedPlace, loadConfig, loadEnvFile } from '../lib/config.ts'
import { AppError } from '../lib/errors.ts'
import { createLog } from '../lib/log.ts'
import { type EmbeddedStore, openEmbeddedStore, prepareServer } from '../lib/telemetry/embedded.ts'
import { openInfluxStore } from '../lib/telemetry/influx.ts'
import { nowNs } from '../lib/telemetry/query.ts'
import type { TelemetryStore } from '../lib/telemetry/store.ts'
import { formatTime } from '../lib/telemetry/time.ts'
import { type Copied, type CopyOptions, compareReadings, copyReadings } from './copying.ts'
import { type Arguments, help, parseArguments, rangeOf, type Side, UsageError } from './copying-arguments.ts'
import { type Noted, readNoted, removeNoted, writeNoted } from './copying-notes.ts'
import { createDisplay, missingTable, mostRows, plural, shownDuration, shownNumber } from './copying-shown.ts'
import { prepareBucket } from './databases.ts'
import { takeFolder } from './folder.ts'
import { step } from './step.ts'

// --- The two sides ----------------------------------------------------------------------------------------------

interface Opened {
  readonly store: TelemetryStore | EmbeddedStore
  /** Without anything secret. */
  readonly shown: string
}

type Role = 'from' | 'to'

const log = createLog('silent')
/** Nobody waits for an answer here, and slices are large. */
const timeoutMs = { write: 30_000, query: 60_000 }

const openInflux = async ({ influx, retentionDays }: Config, role: Role): Promise<Opened> => {
  if (influx === undefined)
    throw new Error(`--${role} influxdb needs the settings INFLUXDB_URL and INFLUXDB_TOKEN.`)
  if (role === 'to') await prepareBucket(influx, retentionDays * 86_400_000, log)
  const store = openInfluxStore({ at: influx, log, timeoutMs })
  const unreadable =
    'INFLUXDB_BUCKET cannot be read: InfluxDB has to run there, have it, and let INFLUXDB_TOKEN read it'
  if (role === 'from')
    await step(unreadable, () => store.check().catch((error: Error) => Promise.reject(error.cause)))
  const shown = `InfluxDB at ${new URL(influx.url).host}, bucket ${influx.bucket} of ${influx.org}`
  return { store, shown }
}

const openEmbedded = async (config: Config, role: Role): Promise<Opened> => {
  const at = embeddedPlace(config)
  const shown = `the embedded store ${'file' in at ? at.file : `at ${new URL(at.url).host}`}`
  if (role === 'from' && 'file' in at && !existsSync(at.file))
    throw new Error(`There is no ${at.file}: DATA_DIR must be the folder of the layer.`)
  const store = await step(`The telemetry of ${shown} cannot be used`, async () => {
    if ('url' in at && role === 'to') await prepareServer(at.url, at.authToken)
    return openEmbeddedStore({ at, log, retentionMs: 0, readOnly: role === 'from' })
  })
  return { store, shown }
}

const openSide = (side: Side, config: Config, role: Role) =>
  side === 'influxdb' ? openInflux(config, role) : openEmbedded(config, role)

/** Hands on what waited for InfluxDB in the spool beside the embedded store. @returns how many readings. */
const emptySpool = async (store: EmbeddedStore): Promise<number> => {
  let moved = 0
  for (;;) {
    const waiting = await store.spooled({ maxMessages: 1000, maxBytes: 1_000_000 })
    if (waiting.length === 0) return moved
    await Promise.all(waiting.map(({ entry }) => store.write(entry)))
    await store.settle(waiting.map(({ id }) => id))
    for (const { entry } of waiting) moved += entry.readings.length
  }
}

// --- The copy ---------------------------------------------------------------------------------------------------

const say = (text: string) => process.stdout.write(`${text}\n`)

const sayCopied = (
  { readings, devices, tooOld, refused }: Copied,
  seconds: number,
  retentionDays: number,
) => {
  const rate = shownNumber(Math.round(readings / Math.max(0.001, seconds)))
  const what = `${plural(readings, 'reading')} of ${plural(devices, 'device')}`
  say(`Copied ${what} in ${shownDuration(seconds)} (${rate}/s).`)
  if (tooOld > 0) say(`Left out ${plural(tooOld, 'reading')} older than RETENTION_DAYS (${retentionDays}).`)
  for (const { deviceId, time } of refused.slice(0, mostRows))
    say(`Refused by the destination: device ${deviceId}, ${formatTime(time)}.`)
  if (refused.length > mostRows) say(`and ${plural(refused.length - mostRows, 'reading')} more`)
}

/** @returns the exit code. @throws {Error} one sentence */
const run = async (asked: Arguments, ending: (() => unknown)[]): Promise<number> => {
  loadEnvFile('.env')
  const config = loadConfig()
  const { dataDir, retentionDays } = config
  const range = rangeOf(asked, nowNs())

  if (asked.to === 'embedded' && 'file' in embeddedPlace(config)) ending.push(await takeFolder(dataDir))
  const source = await openSide(asked.from, config, 'from')
  ending.push(() => source.store.close())
  const destination = await openSide(asked.to, config, 'to')
  ending.push(() => destination.store.close())

  await step(`DATA_DIR ${dataDir} cannot be made`, () => mkdir(dataDir, { recursive: true, mode: 0o700 }))
  const file = join(dataDir, `telemetry-copy-${asked.from}-${asked.to}.json`)
  const copy = JSON.stringify([source.shown, destination.shown, asked.since, asked.until, asked.devices])
  const before = asked.restart ? undefined : await readNoted(file)
  if (before && before.copy !== copy)
    throw new Error(
      `Another copy was broken off (${file}): repeat it with its own options, or begin anew with --restart.`,
    )
  const noted: Noted = before ?? { copy, range, done: new Map() }
  say(`From ${source.shown}\nto   ${destination.shown}`)
  if (before) say('Going on where it was broken off.')

  const controller = new AbortController()
  const stop = () => controller.abort()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop)
  const display = createDisplay(process.stdout)
  await writeNoted(file, noted)
  let [saving, savedAt] = [Promise.resolve(), performance.now()]
  const save = () => {
    savedAt = performance.now()
    saving = saving.then(() => writeNoted(file, noted))
    saving.catch(() => undefined)
  }
  const options: CopyOptions = {
    from: source.store,
    to: destination.store,
    devices: asked.devices,
    range: noted.range,
    done: noted.done,
    // A minute less than what is kept: it takes a while until it is written.
    keptFrom: () =>
      retentionDays === 0 ? 0n : nowNs() - BigInt(retentionDays * 86_400 - 60) * 1_000_000_000n,
    onProgress(progress) {
      display.show(progress)
      if (performance.now() - savedAt > 1000) save()
    },
    signal: controller.signal,
  }
  const copied = await copyReadings(options).finally(() => {
    display.wipe()
    save()
    return saving
  })
  if (copied.interrupted) {
    say(`Ended after ${plural(copied.readings, 'reading')}: the same command goes on from here.`)
    return 1
  }
  sayCopied(copied, display.seconds(), retentionDays)
  if ('spooled' in destination.store) {
    const moved = await emptySpool(destination.store)
    if (moved > 0) say(`Moved ${plural(moved, 'reading')} that waited for InfluxDB in the spool.`)
  }
  const { missing, since } = await compareReadings(options).finally(() => display.wipe())
  await saving
  await removeNoted(file)
  if (since > 0) say(`${plural(since, 'reading')} came to the source meanwhile: run it again to copy them.`)
  if (missing.length === 0 && copied.refused.length === 0) {
    say('Compared by counts: nothing is missing.')
    return 0
  }
  if (missing.length > 0) process.stdout.write(`\n${missingTable(missing)}\n`)
  const counted = missing.reduce((sum, part) => sum + part.source - part.destination, 0)
  say(`FAILED: ${plural(Math.max(counted, copied.refused.length), 'reading')} missing.`)
  return 1
}

const main = async (): Promise<number> => {
  const asked = parseArguments(process.argv.slice(2))
  if (asked === undefined) {
    process.stdout.write(help)
    return 0
  }
  const ending: (() => unknown)[] = []
  try {
    return await run(asked, ending)
  } finally {
    for (const end of ending.reverse()) await end()
  }
}

const sentenceOf = (error: unknown): string => {
  if (error instanceof ConfigError) return error.problems.join('\n')
  if (!(error instanceof AppError)) return (error as Error).message
  const { code } = (error.cause ?? {}) as { code?: unknown }
  const word = typeof code === 'string' ? ` (${code})` : ''
  return `A store stays away${word}. What was copied is noted: the same command goes on from there.`
}

main().then(
  (code) => {
    process.exitCode = code
  },
  (error: unknown) => {
    process.stderr.write(`${sentenceOf(error)}\n`)
    process.exitCode = error instanceof UsageError ? 2 : 1
  },
)
