/** The part of the composition root that takes and reads telemetry. */
import { beforeEachAnswer } from './lambda/handler.ts'
import { closers, config, log, once, overrides } from './runtime-base.ts'
import { topics } from './runtime-broker.ts'
import { alertRules, database, deletions, ledger, retentionMs } from './runtime-embedded.ts'
import { registry } from './runtime-registry.ts'
import { createDeadLetters, type DeadLetters } from './telemetry/dead-letters.ts'
import { batchWriterOf } from './telemetry/embedded/open.ts'
import { EmbeddedSpool } from './telemetry/embedded/spool.ts'
import { EmbeddedStore } from './telemetry/embedded/store.ts'
import { FieldCatalogue } from './telemetry/field-catalogue.ts'
import type { InfluxConnection } from './telemetry/influx/connection.ts'
import { InfluxStore } from './telemetry/influx/store.ts'
import { InfluxWrites } from './telemetry/influx/writes.ts'
import { Intake } from './telemetry/intake/intake.ts'
import { accessTo, type SpoolAccess } from './telemetry/intake/spool-access.ts'
import { SpoolDrain } from './telemetry/intake/spool-drain.ts'
import { SqsSpool } from './telemetry/intake/sqs.ts'
import { type KeepDeadLetter, StoreWriter } from './telemetry/intake/store-writer.ts'
import { payloadOf } from './telemetry/payload/parse.ts'
import { Replay } from './telemetry/replay.ts'
import type { TelemetryStore } from './telemetry/store.ts'
import { Telemetry } from './telemetry/telemetry.ts'
import { TelemetryReader } from './telemetry/telemetry-reader.ts'
import { TimedStore, timedWrites } from './telemetry/timed-store.ts'

export function deadLetters(): Promise<DeadLetters> {
  return once('deadLetters', async () =>
    createDeadLetters({ db: (await registry()).db, count: overrides.count }),
  )
}

function store(): Promise<TelemetryStore> {
  return once('store', async () => {
    const { influx: connection } = config()
    const value =
      connection === undefined
        ? new EmbeddedStore(await database())
        : new InfluxStore({ connection, log: log() }, influxWrites(connection))
    const { metrics } = overrides
    return metrics === undefined ? value : new TimedStore(value, metrics.storeOperation)
  })
}

/** What the intake needs of the store on InfluxDB: its bundles hold nothing that reads. */
function influxWrites(connection: InfluxConnection): InfluxWrites {
  return once('influxWrites', () => {
    const value = new InfluxWrites({ connection, log: log() })
    closers.push(() => value.close())
    return value
  })
}

/** The way to a spool that no process empties between requests; undefined elsewhere, and where there is none to empty. */
export async function spoolToEmpty(): Promise<Intake | undefined> {
  const { influx, queue } = config()
  return overrides.longRunning || influx === undefined || queue !== undefined ? undefined : intake()
}

/** Opening the intake also starts to empty the spool. */
export function intake(): Promise<Intake> {
  return once('intake', async () => {
    const { influx } = config()
    const value = await (influx === undefined ? intakeOfEmbeddedStore() : intakeOfInflux(influx))
    closers.push(() => value.close())
    return value
  })
}

async function intakeOfEmbeddedStore(): Promise<Intake> {
  const { queue } = config()
  const accounting = await ledger()
  const spool = queue === undefined ? undefined : new SqsSpool(queue, accounting)
  return new Intake({
    ...(await intakeRules()),
    writer: batchWriterOf(await database()),
    ledger: accounting,
    spool,
  })
}

async function intakeOfInflux(influx: InfluxConnection): Promise<Intake> {
  const accounting = await ledger()
  const letters = await deadLetters()
  const keepDeadLetter: KeepDeadLetter = ({ deviceId, receivedAt, readings }, reason, onceKey) =>
    letters.keep({
      deviceId,
      topic: topics().of(deviceId).telemetryPublish,
      payload: Buffer.from(payloadOf(readings)),
      reason,
      receivedAt,
      messageId: onceKey ?? '',
      once: onceKey !== undefined,
    })
  const { queue, spool: limits } = config()
  const { metrics } = overrides
  const writes = influxWrites(influx)
  const store = metrics === undefined ? writes : timedWrites(writes, metrics.storeOperation)
  const to = { store, keepDeadLetter }
  if (queue !== undefined)
    return new Intake({
      ...(await intakeRules()),
      writer: new StoreWriter({ ...to, ledger: accounting }),
      ledger: accounting,
      spool: new SqsSpool(queue, accounting),
    })
  const writer = new StoreWriter({ ...to, ledger: accounting, patienceMs: 1000 })
  const spool = new EmbeddedSpool(await database(), {
    maxBytes: limits.maxBytes,
    maxAgeMs: limits.maxAgeS * 1000,
  })
  const drain = new SpoolDrain({ ...to, spool, log: log(), writesEnded: () => writer.writesEnded() })
  return new Intake({ ...(await intakeRules()), writer, ledger: accounting, spool, drain })
}

/** What decides how readings are taken, whatever stores them. */
const intakeRules = async () => ({
  log: log(),
  ...payloadRules(),
  fields: await fieldCatalogue(),
  sampler: await alertRules(),
  observers: overrides.batchObservers,
})

const payloadRules = () => ({ retentionMs: retentionMs(), maxClockAheadMs: config().maxClockAheadS * 1000 })

export function fieldCatalogue(): Promise<FieldCatalogue> {
  return once('fieldCatalogue', async () => {
    const value = new FieldCatalogue({
      db: (await registry()).db,
      log: log(),
      background: overrides.longRunning ?? false,
    })
    closers.push(() => value.close())
    if (!overrides.longRunning) closers.push(beforeEachAnswer(() => value.flush()))
    return value
  })
}

/** What reads telemetry and takes no intake. */
export function telemetryReader(): Promise<TelemetryReader> {
  return once('telemetryReader', async () => {
    const { maxClockAheadMs } = payloadRules()
    return new TelemetryReader({ store: await store(), ledger, fields: fieldCatalogue, maxClockAheadMs })
  })
}

export function telemetry(): Promise<Telemetry> {
  return once(
    'telemetry',
    async () =>
      new Telemetry({
        store: await store(),
        spooled,
        ledger,
        fields: fieldCatalogue,
        // InfluxDB deletes any range with one call.
        ...(config().influx === undefined && { deletions }),
        maxClockAheadMs: payloadRules().maxClockAheadMs,
      }),
  )
}

/** True in the bundles of `dist/cloud`. */
declare const isCloudBundle: boolean | undefined

/** In the cloud a queue is the spool, so that who only asks for it needs no intake. */
async function spooled(): Promise<SpoolAccess> {
  if (typeof isCloudBundle === 'undefined') return (await intake()).spooled
  const { queue } = config()
  return accessTo(queue && new SqsSpool(queue, await ledger()))
}

export function replays(): Promise<Replay> {
  return once('replays', async () => {
    const [fields, accounting] = [await fieldCatalogue(), await ledger()]
    return new Replay({ intake: await intake(), ledger: accounting, fields, ...payloadRules() })
  })
}
