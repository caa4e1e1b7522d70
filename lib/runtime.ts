/**
 * The composition root: one lazily built value per service. Getters are function declarations, so that a bundle
 * carries only what its function asks for.
 */

import { randomUUID } from 'node:crypto'
import { beforeAnswers } from './built.ts'
import {
  type ConfigurationStore,
  type Configurations,
  createConfigurationStore,
  createConfigurations,
} from './commands/configuration.ts'
import { createMessenger, type Messenger } from './commands/messenger.ts'
import { createSessions, type Sessions } from './commands/sessions.ts'
import { type Config, embeddedPlace, isLoopback, loadConfig } from './config.ts'
import { type Accounts, createAccounts, withAccounts } from './devices/accounts.ts'
import type { Device } from './devices/device.ts'
import { createDevices, type Devices } from './devices/devices.ts'
import { createPresence, type Presence } from './devices/presence.ts'
import { addressOf } from './http/address.ts'
import { createGate, type Gate } from './http/auth.ts'
import { createMemoryLimiter, type Limiter } from './http/limit.ts'
import { createRedisLimiter } from './http/limit-redis.ts'
import { createUpstashLimiter } from './http/limit-upstash.ts'
import { createLog, type Log } from './log.ts'
import { controlTopic } from './mqtt/accounts.ts'
import { deviceTopics } from './mqtt/topics.ts'
import { openRegistry, type Registry } from './registry/db.ts'
import { createLeases, type Leases } from './registry/leases.ts'
import { type Arrivals, createArrivals } from './telemetry/arrivals.ts'
import { createDeadLetters, type DeadLetters } from './telemetry/dead-letters.ts'
import { createDirectIntake, type EmbeddedStore, openEmbeddedStore } from './telemetry/embedded.ts'
import { openInfluxStore } from './telemetry/influx.ts'
import type { Intake } from './telemetry/intake.ts'
import { payloadOf } from './telemetry/payload.ts'
import {
  createPassingIntake,
  createQueue,
  createQueuedIntake,
  createRestoringIntake,
} from './telemetry/queue.ts'
import type { Bury } from './telemetry/single-out.ts'
import { createSpooledIntake } from './telemetry/spool.ts'
import type { TelemetryStore } from './telemetry/store.ts'
import { createTelemetry, type Telemetry } from './telemetry/telemetry.ts'

export interface Given {
  config?: Config
  /** See `DevicesOptions.cacheMs`; only sound where this process is the one that writes the registry. */
  cacheMs?: number
  /** This process goes on between its answers, until `close`: what it keeps in memory is written meanwhile. */
  goesOn?: boolean
  /** The ports the broker of this machine really has. */
  mqttPorts?: () => Pick<Config['ports'], 'mqtt' | 'mqttTls' | 'mqttWs'>
  /** Every route of the system, for answers to unknown ones. */
  routes?: readonly Route[]
}

/** Where devices find the broker; null for a way that is not open. */
export interface BrokerAddress {
  readonly host: string
  readonly port: number | null
  readonly tlsPort: number | null
  /** What a client must name in the TLS handshake. */
  readonly alpn: string | null
  readonly webSocketUrl: string | null
}

export interface Route {
  readonly method: string
  /** In Hono's form: `/api/v1/telemetry/:id`. */
  readonly path: string
}

let given: Given = {}
const built = new Map<string, unknown>()
const closers: (() => unknown)[] = []

/** What failed to build is tried again by the next call. */
const once = <T>(name: string, build: () => T): T => {
  if (built.has(name)) return built.get(name) as T
  const value = build()
  built.set(name, value)
  if (value instanceof Promise) value.catch(() => built.delete(name))
  return value
}

/** Sets what a front door knows better than the environment; before the first getter is called. */
export function configure(values: Given): void {
  if (built.size > 0) throw new Error('configure() comes before the first use of the runtime')
  given = values
}

/** Ends every service, the last one built first, and forgets them all. @throws {unknown} the first fault, after all have ended. */
export async function close(): Promise<void> {
  const faults: unknown[] = []
  for (const end of closers.splice(0).reverse()) {
    try {
      await end()
    } catch (error) {
      faults.push(error)
    }
  }
  built.clear()
  given = {}
  if (faults.length > 0) throw faults[0]
}

export function config(): Config {
  return once('config', () => given.config ?? loadConfig())
}

/** Put into a bundle by the build, out of serverless.yml. */
declare const bundledRoutes: readonly Route[] | undefined

export function routes(): readonly Route[] {
  return given.routes ?? (typeof bundledRoutes === 'undefined' ? [] : bundledRoutes)
}

export function log(): Log {
  return once('log', () => {
    const value = createLog(config().logLevel)
    closers.push(() => value.flush())
    return value
  })
}

export function registry(): Promise<Registry> {
  return once('registry', async () => {
    const value = await openRegistry(config().database)
    closers.push(() => value.close())
    return value
  })
}

export function devices(): Promise<Devices> {
  return once('devices', async () => {
    const value = createDevices({
      db: (await registry()).db,
      log: log(),
      keyLength: config().apiKeyLength,
      offlineAfterS: config().offlineAfterS,
      cacheMs: given.cacheMs ?? 0,
    })
    closers.push(() => value.close())
    if (!given.goesOn) {
      const note = () =>
        value.flushDue().catch((error) => log().warn('signs of life could not be written', { error }))
      closers.push(beforeAnswers(note))
    }
    const broker = await accounts()
    return broker === undefined ? value : withAccounts(value, broker, log())
  })
}

/** The telemetry that is kept beside the registry; with InfluxDB its accounts and its spool. */
function embedded(): Promise<EmbeddedStore> {
  return once('embedded', async () => {
    const { influx } = config()
    const store = await openEmbeddedStore({
      at: embeddedPlace(config()),
      log: log(),
      retentionMs: influx === undefined ? retentionMs() : 0,
    })
    closers.push(() => store.close())
    return store
  })
}

const retentionMs = () => config().retentionDays * 86_400_000

function store(): Promise<TelemetryStore> {
  return once('store', async () => {
    const { influx } = config()
    if (influx === undefined) return embedded()
    const value = openInfluxStore({ at: influx, log: log() })
    closers.push(() => value.close())
    return value
  })
}

/** The way into the stores themselves. */
function directIntake(): Promise<Intake> {
  return once('directIntake', async () => {
    const ledger = await embedded()
    const { influx, queue, spool } = config()
    if (influx === undefined) return createDirectIntake(ledger)
    const letters = await deadLetters()
    const bury: Bury = ({ deviceId, receivedAt, readings }, reason, key) =>
      letters.keep({
        deviceId,
        topic: deviceTopics(deviceId).telemetryPublish,
        payload: Buffer.from(payloadOf(readings)),
        reason,
        receivedAt,
        messageId: key ?? '',
        once: key !== undefined,
      })
    if (queue !== undefined) return createPassingIntake({ ledger, store: await store(), bury })
    const value = createSpooledIntake({
      ledger,
      store: await store(),
      bury,
      log: log(),
      maxBytes: spool.maxBytes,
      maxAgeMs: spool.maxAgeS * 1000,
    })
    closers.push(() => value.close())
    return value
  })
}

function intake(): Promise<Intake> {
  return once('intake', async () => {
    const direct = await directIntake()
    const { queue } = config()
    return queue === undefined
      ? direct
      : createQueuedIntake({
          intake: direct,
          queue: createQueue(queue),
          ledger: await embedded(),
          log: log(),
        })
  })
}

/** The way in for what comes out of the queue, and must not go back there. */
function restoringIntake(): Promise<Intake> {
  return once('restoringIntake', async () => {
    const direct = await directIntake()
    return config().queue === undefined
      ? direct
      : createRestoringIntake({ intake: direct, ledger: await embedded() })
  })
}

export function telemetry(): Promise<Telemetry> {
  return once('telemetry', async () =>
    createTelemetry({
      store: await store(),
      intake,
      directIntake: restoringIntake,
      retentionMs: retentionMs(),
    }),
  )
}

export function arrivals(): Promise<Arrivals> {
  return once('arrivals', async () => {
    // A store that is away must not keep the others out: then the clock alone has to do.
    const last = await intake()
      .then((value) => value.lastArrival())
      .catch(() => 0)
    return createArrivals(last)
  })
}

export function deadLetters(): Promise<DeadLetters> {
  return once('deadLetters', async () => createDeadLetters({ db: (await registry()).db }))
}

/** Undefined where there is no broker to talk to. */
export function messenger(): Messenger | undefined {
  return once('messenger', () => {
    const { iot } = config()
    if (iot === undefined) return undefined
    const value = createMessenger(iot)
    closers.push(() => value.close())
    return value
  })
}

/** Undefined where the broker asks the authorizer, or there is none. */
export function accounts(): Promise<Accounts | undefined> {
  return once('accounts', async () => {
    const broker = messenger()
    if (typeof config().mqtt !== 'object' || broker === undefined) return undefined
    return createAccounts({
      db: (await registry()).db,
      say: (commands) =>
        broker.publish({ topic: controlTopic, payload: JSON.stringify({ commands }), retain: false }),
      log: log(),
    })
  })
}

export function leases(): Promise<Leases> {
  return once('leases', async () => {
    // A file has one process at a time: what the last one held is this one's.
    const holder = config().database.url.startsWith('file:') ? 'this machine' : randomUUID()
    return createLeases({ db: (await registry()).db, holder })
  })
}

export function presence(): Promise<Presence> {
  return once('presence', async () => {
    const service = await devices()
    return createPresence({ db: (await registry()).db, changed: service.changed })
  })
}

export function configurationStore(): Promise<ConfigurationStore> {
  return once('configurationStore', async () => createConfigurationStore({ db: (await registry()).db }))
}

export function configurations(): Promise<Configurations> {
  return once('configurations', async () =>
    createConfigurations({ db: (await registry()).db, messenger: messenger(), log: log() }),
  )
}

export function sessions(): Promise<Sessions> {
  return once('sessions', async () =>
    createSessions({ clients: (await presence()).clients, messenger: messenger(), log: log() }),
  )
}

export function brokerKind(): 'embedded' | 'mosquitto' | 'aws-iot' | 'none' {
  const { iot, mqtt } = config()
  if (typeof mqtt === 'object') return 'mosquitto'
  if (iot === undefined) return 'none'
  return iot.endpoint.startsWith('https:') ? 'aws-iot' : 'embedded'
}

/** @param hostname under which the caller reached this machine: the broker beside it has the same. */
export function brokerAddress(hostname: string): BrokerAddress {
  const { iot, ports } = config()
  if (iot !== undefined && brokerKind() === 'aws-iot') {
    const { hostname: host } = new URL(iot.endpoint)
    return { host, port: null, tlsPort: 443, alpn: 'mqtt', webSocketUrl: `wss://${host}/mqtt` }
  }
  const { mqtt: own } = config()
  if (typeof own === 'object') {
    // The ports of the settings are those that devices find there.
    const { hostname: there } = new URL(own.url)
    // A name without a dot is one of containers beside this one.
    const isBeside = isLoopback(there) || !/[.:]/.test(there)
    const host = isBeside ? hostname : there
    return {
      host,
      port: ports.mqtt ?? null,
      tlsPort: ports.mqttTls ?? null,
      alpn: null,
      webSocketUrl: ports.mqttWs === undefined ? null : `ws://${host}:${ports.mqttWs}/mqtt`,
    }
  }
  const { mqtt, mqttTls, mqttWs } = given.mqttPorts?.() ?? ports
  return {
    host: hostname,
    port: mqtt ?? null,
    tlsPort: (config().tls && mqttTls) ?? null,
    alpn: null,
    webSocketUrl: mqttWs === undefined ? null : `ws://${hostname}:${mqttWs}/mqtt`,
  }
}

export function limiter(): Limiter {
  return once('limiter', () => {
    const { upstash, redisUrl, stage } = config()
    const fallback = createMemoryLimiter()
    const shared = { prefix: `iotflow:${stage}`, fallback, log: log() }
    if (upstash !== undefined) return createUpstashLimiter({ ...upstash, ...shared })
    if (redisUrl === undefined) return fallback
    const value = createRedisLimiter({ url: redisUrl, ...shared })
    closers.push(() => value.close())
    return value
  })
}

export function gate(): Promise<Gate<Device>> {
  return once('gate', async () => {
    const { limits, trustProxy, adminToken, enrollmentKeys, openRegistration, publicTelemetryReads } =
      config()
    const service = await devices()
    return createGate({
      authenticate: service.authenticate,
      limiter: limiter(),
      limits,
      addressOf: addressOf(trustProxy),
      adminToken,
      enrollmentKeys,
      openRegistration,
      publicTelemetryReads,
    })
  })
}
