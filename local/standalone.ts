/** The whole system in this process: stores, functions, HTTP server and MQTT. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Config } from '../lib/config.ts'
import { IngestMetrics } from '../lib/dashboard/ingest-metrics.ts'
import { LiveUpdates } from '../lib/dashboard/live-updates.ts'
import { MinuteCounts } from '../lib/dashboard/minute-counts.ts'
import type { AuthorizerResult } from '../lib/mqtt/authorizer.ts'
import { MessageTap } from '../lib/mqtt/message-tap.ts'
import { root } from '../lib/root.ts'
import * as runtime from '../lib/runtime.ts'
import { webhookDispatcher, webhookQueue } from '../lib/runtime-webhooks.ts'
import type { TakeMessage } from '../lib/telemetry/delivery.ts'
import { openApiDocument } from '../scripts/openapi-document.ts'
import { type AdminToken, adminTokenFile } from './admin-token.ts'
import { BackupSchedule, backupProcess } from './backup/schedule.ts'
import { lockDataDir } from './data-dir.ts'
import { DatabaseMarking, emptyLogs, markForStart } from './database-marks.ts'
import { prepareForStart } from './databases.ts'
import { describeFailure } from './describe-failure.ts'
import { type Functions, loadFunctions } from './functions.ts'
import { openHttpServer } from './http.ts'
import { shownLog } from './log-at-terminal.ts'
import { LogFile } from './log-file.ts'
import { Metrics } from './metrics/metrics.ts'
import { type MqttGateway, openGateway } from './mqtt/gateway.ts'
import { loadRules } from './mqtt/rules.ts'
import { refuseTakenPorts } from './ports.ts'
import { Schedules } from './schedules.ts'
import { writeServerFile } from './server-file.ts'
import { withSigningKey } from './webhook-signing-key.ts'

export interface StandaloneServer {
  readonly httpUrl: string | undefined
  readonly ports: {
    readonly http: number | undefined
    readonly mqtt: number | undefined
    readonly mqttWs: number | undefined
    readonly mqttTls: number | undefined
  }
  /** Undefined when the settings have an admin token, or when no admin may call. */
  readonly adminToken: AdminToken | undefined
  /** A code that opens the dashboard once; undefined where the token cannot be got by one. */
  makeSessionCode(): string | undefined
  /** Refuses new requests and messages, finishes those under way, writes their readings, and ends; within 5 s. */
  close(): Promise<void>
}

/**
 * Time that rows of the registry stay in memory, ms: other processes may change the database on a server, but never a local
 * file.
 */
const cacheMs = { file: 60_000, server: 5000 } as const
/** Time for requests under way to finish when the server ends, ms. */
const graceMs = 2500

const readTls = async (tls: Config['tls']) => {
  if (tls === undefined) return undefined
  const read = (setting: string, path: string) =>
    readFile(path).catch(() => {
      throw new Error(`${setting}: the file ${path} cannot be read.`)
    })
  return { cert: await read('TLS_CERT', tls.cert), key: await read('TLS_KEY', tls.key) }
}

/** Opens the stores and starts to hand on readings that an earlier run left in the spool. @throws {Error} one sentence. */
const openTelemetry = (dataDir: string) =>
  describeFailure(`The telemetry of ${dataDir} cannot be used`, async () => {
    await runtime.telemetry()
    await runtime.intake()
  })

const urlOf = (host: string, port: number, tls: unknown) =>
  `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`

/** Shows a message of a device to the operator who watches. Events of connections have no payload. */
const tapEvent = (
  tap: MessageTap,
  { topic, payload, client_id: clientId, received_at: at }: Record<string, unknown>,
) => {
  if (typeof topic !== 'string' || typeof payload !== 'string') return
  tap.record({
    topic,
    payload,
    clientId: typeof clientId === 'string' ? clientId : undefined,
    receivedAt: typeof at === 'number' ? at : Date.now(),
  })
}

/**
 * What looks at every message. Another process may use a database on a server, too: then no process sees every message, and there
 * are no live updates.
 */
const watchMessages = (config: Config) => {
  const ingest = new IngestMetrics()
  const isOnlyProcess = config.database.url.startsWith('file:')
  const live = isOnlyProcess
    ? { minuteCounts: new MinuteCounts(), liveUpdates: new LiveUpdates(runtime) }
    : undefined
  return {
    ...live,
    batchObservers: [ingest, ...Object.values(live ?? {})],
    metrics: new Metrics({
      ingest,
      liveUpdates: live?.liveUpdates,
      overview: runtime.overview,
      webhooks: webhookQueue,
    }),
  }
}

/** The short way of telemetry; while an operator watches messages, they go the ordinary way, which shows them. */
const shortWay = async (functions: Functions, tap: MessageTap): Promise<TakeMessage> => {
  const { take } = (await functions.module('telemetry-ingest')) as { take?: () => Promise<TakeMessage> }
  const taker = await take?.()
  return (message, ended) => taker !== undefined && !tap.isWatched && taker(message, ended)
}

/** Connects the gateway to the functions of this process. */
const startMqtt = async (gateway: MqttGateway, functions: Functions, config: Config, tap: MessageTap) => {
  const clock = runtime.clock()
  const devices = await runtime.devices()
  const rules = await loadRules(fileURLToPath(new URL('iot-rules/', root)), config.topicRoot)
  const handlers = new Map<string, (event: unknown) => Promise<unknown>>()
  for (const { functionName } of rules) handlers.set(functionName, await functions.event(functionName))
  const services = {
    rules,
    topics: runtime.topics(),
    invoke: (functionName: string, event: Record<string, unknown>) => {
      tapEvent(tap, event)
      return (handlers.get(functionName)?.(event) ?? Promise.resolve()) as Promise<void>
    },
    take: await shortWay(functions, tap),
    arrival: () => clock.next(),
    onTraffic: (deviceId: number) => devices.touch(deviceId),
    log: runtime.log(),
  }
  if (gateway.kind === 'mosquitto') {
    const accounts = await runtime.accounts()
    gateway.startBridge(services, {
      leases: await runtime.leases(),
      reconcileAccounts: async () => accounts?.reconcile(),
    })
    return
  }
  const access = await runtime.accessControl()
  const commands = await runtime.commands()
  const authorize = await functions.event('mqtt-authorize')
  await gateway.startBroker(services, {
    authorize: async (event) => (await authorize(event)) as AuthorizerResult,
    throttle: (deviceId) => access.delayForDevice(deviceId),
    limits: { authFailuresPerMinutePerIp: config.limits.ipPerMinute },
    onCommandReceived: (deviceId, commandId) => commands.received(deviceId, commandId),
    resetPresence: async () => (await runtime.presence()).reset(Date.now()),
    republish: async () => (await runtime.configurations()).republish(),
  })
}

/** @throws {Error} with one clear sentence when a port is taken or a file cannot be used. */
export async function startStandaloneServer(settings: Config): Promise<StandaloneServer> {
  const { dataDir, host, ports, stage } = settings
  const ending: (() => Promise<void> | void)[] = [await lockDataDir(dataDir)]
  const end = async () => {
    for (const last of ending.splice(0).reverse()) await last()
  }

  try {
    await refuseTakenPorts(settings)
    const adminToken =
      settings.adminToken === undefined && stage === 'local' ? await adminTokenFile(dataDir) : undefined
    const tls = await readTls(settings.tls)
    const functions = await loadFunctions()
    const gateway = await openGateway({ host, ports, mqtt: settings.mqtt, tls })
    ending.push(() => gateway.close())
    const config: Config = {
      ...(await withSigningKey(settings)),
      adminToken: settings.adminToken ?? adminToken?.token,
      iot: gateway.iot,
    }
    const logFile = new LogFile(dataDir)
    const showLog = shownLog(settings)
    const messageTap = new MessageTap()
    ending.push(() => logFile.close())
    const watching = watchMessages(config)
    runtime.configure({
      config,
      longRunning: true,
      writeLog: (lines) => {
        showLog(lines)
        logFile.write(lines)
      },
      cacheMs: config.database.url.startsWith('file:') ? cacheMs.file : cacheMs.server,
      ...(gateway.kind === 'none' ? {} : { messageTap }),
      routes: functions.routes,
      openApi: () => openApiDocument(functions),
      mqttPorts: () => gateway.ports,
      mqttConnections: () => gateway.connections,
      mqttClients: (deviceId) => gateway.clientsOf(deviceId),
      ...watching,
    })
    ending.push(runtime.close)
    // HTTP and MQTT close at the same time: one after the other they would need more than 5 s.
    const closings: (() => Promise<void>)[] = []
    ending.push(async () => {
      await Promise.all(closings.map((close) => close()))
    })
    const log = runtime.log()
    const mark = await markForStart(config)
    // `end` goes backwards: this comes after the services are closed.
    ending.splice(1, 0, () => emptyLogs(config))
    ending.push(await prepareForStart(config, log))
    await openTelemetry(dataDir)
    if (mark !== undefined) {
      const marking = new DatabaseMarking({ config, log, mark, setMarks: runtime.setDatabaseMarks })
      ending.push(() => marking.close())
    }
    const commands = await runtime.commands()
    // A file belongs to this process, so that whoever was delivering has ended.
    if (config.database.url.startsWith('file:')) await commands.endClaims()
    // Before the HTTP server waits for its calls: devices that wait for commands would keep it for as long as they like.
    closings.push(async () => commands.endWaits())
    const http =
      ports.http === undefined
        ? undefined
        : await openHttpServer({ host, port: ports.http, functions, tls, corsOrigins: config.corsOrigins })
    if (http) closings.push(() => http.close(graceMs))
    // Streams would keep their connections open until the grace time is over.
    closings.push(async () => watching.liveUpdates?.close())

    closings.push(() => gateway.stopMessages())
    if (gateway.kind !== 'none') await startMqtt(gateway, functions, config, messageTap)
    // They go on with the fleet commands and with the webhook deliveries that an earlier run has left.
    await runtime.fleetRunner()
    await webhookDispatcher()
    await runtime.alertSweep()

    const schedules = new Schedules({
      schedules: functions.schedules,
      invoke: async (functionName, event) => (await functions.event(functionName))(event),
      log,
    })
    ending.push(() => schedules.close())
    if (config.backups !== undefined) {
      const schedule = new BackupSchedule({ settings: config.backups, log, run: backupProcess(config) })
      ending.push(() => schedule.close())
    }
    if (http) (await runtime.overview()).warm()
    const httpUrl = http && urlOf(host, http.port, tls)
    ending.push(await writeServerFile(dataDir, httpUrl))
    return {
      httpUrl,
      ports: { http: http?.port, ...gateway.ports },
      adminToken,
      makeSessionCode: () => runtime.sessionCodes()?.make(),
      close: end,
    }
  } catch (error) {
    await end()
    throw error
  }
}
