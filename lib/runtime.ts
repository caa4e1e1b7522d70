/**
 * The composition root: builds each service on the first call of its getter. Getters are function declarations, so that a
 * bundle holds only the services that its function calls.
 */
import type { AlertSweep } from './alerts/sweep.ts'
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
import { closers, config, log, once, overrides } from './runtime-base.ts'
import { accounts, brokerCheck, brokerKind, disconnecter, publisher, topics } from './runtime-broker.ts'
import { alerts, openAlertSweep, retentionMs } from './runtime-embedded.ts'
import { leases, limiter, registry } from './runtime-registry.ts'
import { deadLetters, telemetry } from './runtime-telemetry.ts'
import type { Tally } from './tally.ts'
import { ArrivalClock } from './telemetry/arrival-clock.ts'

export type { ProcessMetrics, RuntimeOverrides } from './runtime-base.ts'
export { close, config, configure, log, openApi, routes } from './runtime-base.ts'
export {
  accounts,
  brokerAddress,
  brokerCheck,
  brokerKind,
  clientIds,
  publisher,
  topics,
} from './runtime-broker.ts'
export { alerts, deletions, setDatabaseMarks, telemetryPruning } from './runtime-embedded.ts'
export { leases, limiter, registry } from './runtime-registry.ts'
export {
  deadLetters,
  fieldCatalogue,
  intake,
  replays,
  spoolToEmpty,
  telemetry,
  telemetryReader,
} from './runtime-telemetry.ts'

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

export function clock(): ArrivalClock {
  return once('clock', () => new ArrivalClock())
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
      alerts: await alerts(),
      messenger: brokerCheck(),
      brokerKind: brokerKind(),
      connections: overrides.mqttConnections ?? (() => undefined),
      minutes: overrides.minuteCounts,
      exact: queue === undefined,
      background: overrides.longRunning ?? false,
    })
  })
}

/** In a process that runs between requests it works by itself from here on. */
export function alertSweep(): Promise<AlertSweep> {
  return once('alertSweep', async () => openAlertSweep(await devices(), patienceMs()))
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

/** Time between two transactions with presence, ms: one for each event took two thirds of the CPU time of a connection. */
const presenceRestMs = 20

export function presence(): Promise<Presence> {
  return once('presence', async () => {
    const service = await devices()
    return createPresence({
      db: (await registry()).db,
      offlineAfterS: config().offlineAfterS,
      onChange: service.changeCached,
      // In the cloud, a function has one event at a time.
      restMs: overrides.longRunning ? presenceRestMs : 0,
    })
  })
}

export function registeredEnrollmentKeys(): Promise<EnrollmentKeys> {
  return once('enrollmentKeys', async () => new EnrollmentKeys((await registry()).db))
}

export function presenceSweep(): Promise<PresenceSweep> {
  return once('presenceSweep', async () => {
    const { offlineAfterS } = config()
    return new PresenceSweep({ db: (await registry()).db, offlineAfterS, patienceMs: patienceMs() })
  })
}

/** Others may have seen a device and not have written that yet, where several processes share the registry. */
const patienceMs = () => (config().database.url.startsWith('file:') ? 0 : 10_000)

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
      ...(overrides.mqttClients && { atBroker: overrides.mqttClients }),
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
