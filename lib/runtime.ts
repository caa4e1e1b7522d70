/**
 * The composition root: builds each service on the first call of its getter. Getters are function declarations, so that a
 * bundle holds only the services that its function calls.
 */
import { withAccounts } from './broker/mosquitto-accounts.ts'
import { createSessions, type Sessions } from './broker/sessions.ts'
import { createCommands } from './commands/command-service.ts'
import { CommandStore } from './commands/command-store.ts'
import type { Commands } from './commands/commands.ts'
import { DeliveryStore } from './commands/delivery-store.ts'
import { createExchange, type Exchange } from './commands/exchange.ts'
import { createFleetCommands, readFleetCommands } from './commands/fleet-command-service.ts'
import type { FleetCommands } from './commands/fleet-commands.ts'
import { FleetRunner } from './commands/fleet-runner.ts'
import { FleetStore } from './commands/fleet-store.ts'
import { embeddedDatabaseLocation } from './config.ts'
import { createConfigurations } from './configuration/configuration-service.ts'
import { createConfigurationStore } from './configuration/configuration-store.ts'
import type { ConfigurationStore, Configurations } from './configuration/configurations.ts'
import { FleetConfigurationReader } from './configuration/fleet-configuration-reader.ts'
import { FleetConfigurations } from './configuration/fleet-configurations.ts'
import { ConfigurationPublisher } from './configuration/publisher.ts'
import type { Count } from './counts.ts'
import type { LiveUpdates } from './dashboard/live-updates.ts'
import type { MetricsPage } from './dashboard/metrics-page.ts'
import { Overview } from './dashboard/overview.ts'
import type { Device } from './devices/device.ts'
import { DeviceRetention } from './devices/device-retention.ts'
import { createDevices, type Devices } from './devices/devices.ts'
import { EnrollmentKeys } from './devices/enrollment-keys.ts'
import { KeyExpiry } from './devices/key-expiry.ts'
import { createPresence, type Presence } from './devices/presence.ts'
import { PresenceSweep } from './devices/presence-sweep.ts'
import { AccessControl } from './http/access-control.ts'
import { addressOf } from './http/address.ts'
import { SessionCodes } from './http/session-codes.ts'
import { beforeEachAnswer } from './lambda/handler.ts'
import type { MessageTap } from './mqtt/message-tap.ts'
import { closers, config, leases, limiter, log, once, overrides, registry } from './runtime-base.ts'
import { accounts, brokerCheck, brokerKind, disconnecter, publisher, topics } from './runtime-broker.ts'
import type { Tally } from './tally.ts'
import { ArrivalClock } from './telemetry/arrival-clock.ts'
import { createDeadLetters, type DeadLetters } from './telemetry/dead-letters.ts'
import type { Deletions } from './telemetry/embedded/deletions.ts'
import type { Ledger } from './telemetry/embedded/ledger.ts'
import { type Embedded, openEmbedded } from './telemetry/embedded/open.ts'
import type { Pruning } from './telemetry/embedded/pruning.ts'
import { FieldCatalogue } from './telemetry/field-catalogue.ts'
import { openInfluxStore } from './telemetry/influx/store.ts'
import { Intake } from './telemetry/intake/intake.ts'
import { SpoolDrain } from './telemetry/intake/spool-drain.ts'
import { SqsSpool } from './telemetry/intake/sqs.ts'
import { type KeepDeadLetter, StoreWriter } from './telemetry/intake/store-writer.ts'
import { payloadOf } from './telemetry/payload/parse.ts'
import type { TelemetryStore } from './telemetry/store.ts'
import { Telemetry } from './telemetry/telemetry.ts'
import { TimedStore } from './telemetry/timed-store.ts'

export type { ProcessMetrics, RuntimeOverrides } from './runtime-base.ts'
export { close, config, configure, leases, limiter, log, openApi, registry, routes } from './runtime-base.ts'
export {
  accounts,
  brokerAddress,
  brokerCheck,
  brokerKind,
  clientIds,
  publisher,
  topics,
} from './runtime-broker.ts'

/** About 3 ms. */
const rowsOfFileAtOnce = 5000

export function devices(): Promise<Devices> {
  return once('devices', async () => {
    const value = createDevices({
      db: (await registry()).db,
      log: log(),
      keyLength: config().apiKeyLength,
      offlineAfterS: config().offlineAfterS,
      cacheMs: overrides.cacheMs ?? 0,
      background: overrides.longRunning ?? false,
      ...(config().database.url.startsWith('file:') && { rowsAtOnce: rowsOfFileAtOnce }),
    })
    closers.push(() => value.close())
    if (!overrides.longRunning) {
      const flush = () =>
        value.flushDue().catch((error) => log().warn('last-seen times could not be written', { error }))
      closers.push(beforeEachAnswer(flush))
    }
    const broker = await accounts()
    return broker === undefined ? value : withAccounts(value, broker, log())
  })
}

/** The embedded database: the whole telemetry, or with InfluxDB its ledger and its spool. */
function embedded(): Promise<Embedded> {
  return once('embedded', async () => {
    const { influx } = config()
    const value = await openEmbedded({
      at: embeddedDatabaseLocation(config()),
      log: log(),
      retentionMs: influx === undefined ? retentionMs() : 0,
    })
    closers.push(() => value.close())
    return value
  })
}

const retentionMs = () => config().retentionDays * 86_400_000

function store(): Promise<TelemetryStore> {
  return once('store', async () => {
    const { influx } = config()
    const value =
      influx === undefined ? (await embedded()).store : openInfluxStore({ connection: influx, log: log() })
    if (influx !== undefined) closers.push(() => value.close())
    const { metrics } = overrides
    return metrics === undefined ? value : new TimedStore(value, metrics.storeOperation)
  })
}

/** Sets the marks of the database files; see `local/database-marks.ts`. Only where DATABASE_URL is a file. */
export async function setDatabaseMarks(mark: number): Promise<void> {
  await (await registry()).db.$client.execute(`PRAGMA user_version = ${Math.trunc(mark)}`)
  await (await embedded()).setMark(mark)
}

/** Large deletions of the embedded store. */
export async function deletions(): Promise<Deletions> {
  return (await embedded()).deletions
}

/** The way to a spool that no process empties between requests; undefined elsewhere, and where there is none to empty. */
export async function spoolToEmpty(): Promise<Intake | undefined> {
  const { influx, queue } = config()
  return overrides.longRunning || influx === undefined || queue !== undefined ? undefined : intake()
}

/** Deletes old readings, and old keys of readings. */
export async function telemetryPruning(): Promise<Pruning> {
  return (await embedded()).pruning
}

async function ledger(): Promise<Ledger> {
  return (await embedded()).ledger
}

/** Opening the intake also starts to empty the spool. */
export function intake(): Promise<Intake> {
  return once('intake', async () => {
    const value = await (config().influx === undefined ? intakeOfEmbeddedStore() : intakeOfInflux())
    closers.push(() => value.close())
    return value
  })
}

async function intakeOfEmbeddedStore(): Promise<Intake> {
  const { writer, ledger } = await embedded()
  const { queue } = config()
  const spool = queue === undefined ? undefined : new SqsSpool(queue, ledger)
  return new Intake({ ...(await intakeRules()), writer, ledger, spool })
}

async function intakeOfInflux(): Promise<Intake> {
  const { ledger, spool: openSpool } = await embedded()
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
  const to = { store: await store(), keepDeadLetter }
  if (queue !== undefined)
    return new Intake({
      ...(await intakeRules()),
      writer: new StoreWriter({ ...to, ledger }),
      ledger,
      spool: new SqsSpool(queue, ledger),
    })
  const writer = new StoreWriter({ ...to, ledger, patienceMs: 1000 })
  const spool = openSpool({ maxBytes: limits.maxBytes, maxAgeMs: limits.maxAgeS * 1000 })
  const drain = new SpoolDrain({ ...to, spool, log: log(), writesEnded: () => writer.writesEnded() })
  return new Intake({ ...(await intakeRules()), writer, ledger, spool, drain })
}

/** What decides how readings are taken, whatever stores them. */
const intakeRules = async () => ({
  log: log(),
  ...payloadRules(),
  fields: await fieldCatalogue(),
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

export function telemetry(): Promise<Telemetry> {
  return once(
    'telemetry',
    async () =>
      new Telemetry({
        store: await store(),
        intake,
        ledger,
        fields: fieldCatalogue,
        // InfluxDB deletes any range with one call.
        ...(config().influx === undefined && { deletions }),
        ...payloadRules(),
      }),
  )
}

export function clock(): ArrivalClock {
  return once('clock', () => new ArrivalClock())
}

export function deadLetters(): Promise<DeadLetters> {
  return once('deadLetters', async () =>
    createDeadLetters({ db: (await registry()).db, count: overrides.count }),
  )
}

/** Undefined where the messages of devices do not pass this process. */
export function messageTap(): MessageTap | undefined {
  return overrides.messageTap
}

export function overview(): Promise<Overview> {
  return once('overview', async () => {
    const { queue } = config()
    return new Overview({
      devices: await devices(),
      telemetry: await telemetry(),
      deadLetters: await deadLetters(),
      messenger: brokerCheck(),
      brokerKind: brokerKind(),
      connections: overrides.mqttConnections ?? (() => undefined),
      minutes: overrides.minuteCounts,
      exact: queue === undefined,
      background: overrides.longRunning ?? false,
    })
  })
}

/** Undefined where other processes take messages, too. */
export function liveUpdates(): LiveUpdates | undefined {
  return overrides.liveUpdates
}

/** Undefined in a process that answers few requests and ends. */
export function metrics(): MetricsPage | undefined {
  return overrides.metrics
}

/** Undefined where nothing is counted for CloudWatch. */
export function count(): Count | undefined {
  return overrides.count
}

/** Counts clients that the broker refuses; undefined where nobody asks for metrics. */
export function mqttRefusals(): Tally<string> | undefined {
  return overrides.metrics?.refusals.mqtt
}

/** Undefined where a browser may not get the admin token by a code: a stage other than `local`, and beyond loopback. */
export function sessionCodes(): SessionCodes | undefined {
  return once('sessionCodes', () => {
    const { stage, loopback } = config()
    return overrides.longRunning && stage === 'local' && loopback ? new SessionCodes() : undefined
  })
}

export function presence(): Promise<Presence> {
  return once('presence', async () => {
    const service = await devices()
    return createPresence({
      db: (await registry()).db,
      offlineAfterS: config().offlineAfterS,
      onChange: service.changeCached,
    })
  })
}

export function registeredEnrollmentKeys(): Promise<EnrollmentKeys> {
  return once('enrollmentKeys', async () => new EnrollmentKeys((await registry()).db))
}

export function presenceSweep(): Promise<PresenceSweep> {
  return once('presenceSweep', async () => {
    // Others may have seen a device and not have written that yet, where several processes share the registry.
    const patienceMs = config().database.url.startsWith('file:') ? 0 : 10_000
    const { offlineAfterS } = config()
    return new PresenceSweep({ db: (await registry()).db, offlineAfterS, patienceMs })
  })
}

export function deviceRetention(): Promise<DeviceRetention> {
  return once(
    'deviceRetention',
    async () => new DeviceRetention({ db: (await registry()).db, telemetryMs: retentionMs() }),
  )
}

export function keyExpiry(): Promise<KeyExpiry> {
  return once('keyExpiry', async () => {
    const broker = await accounts()
    const endAccount = broker && ((deviceId: number) => broker.reconcile(deviceId))
    return new KeyExpiry({ db: (await registry()).db, sessions: await sessions(), endAccount })
  })
}

export function configurationStore(): Promise<ConfigurationStore> {
  return once('configurationStore', async () => createConfigurationStore({ db: (await registry()).db }))
}

function configurationPublisher(): Promise<ConfigurationPublisher> {
  return once('configurationPublisher', async () => {
    const { read } = await configurationStore()
    return new ConfigurationPublisher({
      db: (await registry()).db,
      read,
      messenger: publisher(),
      topics: topics(),
      log: log(),
    })
  })
}

export function configurations(): Promise<Configurations> {
  return once('configurations', async () =>
    createConfigurations({ db: (await registry()).db, publisher: await configurationPublisher() }),
  )
}

/** What reads changes of the fleet and takes no broker. */
export function fleetConfigurationReader(): Promise<FleetConfigurationReader> {
  return once('fleetConfigurationReader', async () => {
    const hasBroker = config().iot !== undefined
    return new FleetConfigurationReader({ db: (await registry()).db, hasBroker })
  })
}

export function fleetConfigurations(): Promise<FleetConfigurations> {
  return once('fleetConfigurations', async () => {
    const value = new FleetConfigurations({
      db: (await registry()).db,
      leases: await leases(),
      publisher: await configurationPublisher(),
      log: log(),
      longRunning: overrides.longRunning === true,
    })
    closers.push(() => value.close())
    return value
  })
}

/** Commands as operators read and cancel them, which takes no broker. */
export function commandStore(): Promise<CommandStore> {
  return once('commandStore', async () => new CommandStore({ db: (await registry()).db, now: Date.now }))
}

function commandExchange(): Promise<Exchange> {
  return once('commandExchange', async () => {
    const value = createExchange({
      db: (await registry()).db,
      kind: brokerKind(),
      log: log(),
      count: overrides.count,
    })
    closers.push(() => value.close())
    return value
  })
}

/** Commands as devices ask for and answer them themselves, which takes no broker. */
export function commandDesk(): Promise<Pick<Commands, 'take' | 'wait' | 'answer' | 'get'>> {
  return once('commandDesk', async () => {
    const { take, wait, answer } = await commandExchange()
    const store = await commandStore()
    return { take, wait, answer, get: store.get.bind(store) }
  })
}

export function commands(): Promise<Commands> {
  return once('commands', async () => {
    const value = createCommands({
      db: (await registry()).db,
      messenger: publisher(),
      kind: brokerKind(),
      topics: topics(),
      log: log(),
      count: overrides.count,
      exchange: await commandExchange(),
    })
    closers.push(() => value.close())
    if (!overrides.longRunning) closers.push(beforeEachAnswer(() => value.settled()))
    return value
  })
}

/** Deletes old commands without what {@link commands} needs to deliver others. */
export async function commandRetention(): Promise<Pick<DeliveryStore, 'prune'>> {
  return new DeliveryStore({ db: (await registry()).db, now: Date.now, kind: brokerKind() })
}

function fleetStore(): Promise<FleetStore> {
  return once('fleetStore', async () => new FleetStore({ db: (await registry()).db, now: Date.now }))
}

/** What reads fleet commands and takes no broker. */
export function fleetCommandReader() {
  return once('fleetCommandReader', async () => readFleetCommands(await fleetStore()))
}

/** In a process that runs between requests it works on by itself from here on. */
export function fleetRunner(): Promise<FleetRunner> {
  return once('fleetRunner', async () => {
    const value = new FleetRunner({
      store: await fleetStore(),
      commands: await commands(),
      leases: await leases(),
      log: log(),
    })
    closers.push(() => value.close())
    if (overrides.longRunning) value.start()
    return value
  })
}

export function fleetCommands(): Promise<FleetCommands> {
  return once('fleetCommands', async () =>
    createFleetCommands({
      store: await fleetStore(),
      runner: await fleetRunner(),
      commands: await commands(),
    }),
  )
}

export function sessions(): Promise<Sessions> {
  return once('sessions', async () => {
    const service = await presence()
    return createSessions({
      clients: (id) => service.clients(id),
      // A Mosquitto reports no sessions; the client id is the device's id there.
      unreported: (id) => (brokerKind() === 'aws-iot' ? [] : [String(id)]),
      messenger: disconnecter(),
      log: log(),
    })
  })
}

export function accessControl(): Promise<AccessControl<Device>> {
  return once('accessControl', async () => {
    const { limits, trustProxy, adminToken, metricsToken, enrollmentKeys } = config()
    const { openRegistration, publicTelemetryReads } = config()
    const service = await devices()
    return new AccessControl({
      authenticate: service.authenticate,
      limiter: limiter(),
      log: log(),
      limits,
      addressOf: addressOf(trustProxy),
      adminToken,
      metricsToken,
      refusals: overrides.metrics?.refusals.http,
      enrollmentKeys,
      enrollment: await registeredEnrollmentKeys(),
      openRegistration,
      publicTelemetryReads,
    })
  })
}
