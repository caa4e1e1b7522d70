/** The whole layer in this process: stores, functions, HTTP door, embedded MQTT broker. */
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Config } from '../lib/config.ts'
import { mintKey } from '../lib/devices/credentials.ts'
import type { AuthorizerEvent, AuthorizerResult } from '../lib/mqtt/authorizer.ts'
import { nextRequestId } from '../lib/request-id.ts'
import * as runtime from '../lib/runtime.ts'
import { startBridge } from './bridge.ts'
import { type Broker, startBroker } from './broker.ts'
import { openDataPlane } from './data-plane.ts'
import { prepareForStart } from './databases.ts'
import { takeFolder } from './folder.ts'
import { loadFunctions } from './functions.ts'
import { startLeader } from './leader.ts'
import { connectMosquitto } from './mosquitto.ts'
import { loadRules } from './rules.ts'
import { openHttpDoor } from './server.ts'
import { codeOf, step } from './step.ts'

export interface Machine {
  readonly httpUrl: string | undefined
  readonly ports: {
    readonly http: number | undefined
    readonly mqtt: number | undefined
    readonly mqttWs: number | undefined
    readonly mqttTls: number | undefined
  }
  /** Where the admin token stands when it was generated here, and whether that was just now. */
  readonly adminToken:
    | { readonly file: string; readonly token: string; readonly created: boolean }
    | undefined
  /** Takes nothing more, finishes what was taken, writes it, and ends; within 5 s. */
  close(): Promise<void>
}

/** How long a registry row may be answered from memory, ms: a file is changed by this process only, a server by others too. */
const cacheMs = { file: 60_000, server: 5000 } as const
/** What requests under way get to finish when the layer is told to end. */
const graceMs = 2500

/**
 * The admin token of a machine whose settings have none: made on the first start, in a file for its owner only.
 * @throws {Error} one sentence when the file is not as it should be.
 */
export async function adminTokenFile(dataDir: string): Promise<NonNullable<Machine['adminToken']>> {
  const file = join(dataDir, 'admin-token')
  try {
    const handle = await open(file, 'wx', 0o600)
    const token = mintKey(40)
    await handle.writeFile(`${token}\n`)
    await handle.sync()
    await handle.close()
    return { file, token, created: true }
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') return step(`${file} cannot be written`, () => Promise.reject(error))
  }
  const token = (await step(`${file} cannot be read`, () => readFile(file, 'utf8'))).trim()
  if (token.length < 24)
    throw new Error(`${file} holds no admin token of at least 24 characters: delete it, or set ADMIN_TOKEN.`)
  return { file, token, created: false }
}

const readTls = async (tls: Config['tls']) => {
  if (tls === undefined) return undefined
  const read = (setting: string, path: string) =>
    readFile(path).catch(() => {
      throw new Error(`${setting}: the file ${path} cannot be read.`)
    })
  return { cert: await read('TLS_CERT', tls.cert), key: await read('TLS_KEY', tls.key) }
}

// The data plane here is our own: what the SDK says of AWS and versions of Node is not about it.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'

/** @throws {Error} with one clear sentence when a port is taken or a file cannot be used. */
export async function startMachine(settings: Config): Promise<Machine> {
  const { dataDir, host, ports, stage } = settings
  const ending: (() => Promise<void> | void)[] = [await takeFolder(dataDir)]
  const end = async () => {
    for (const last of ending.splice(0).reverse()) await last()
  }

  try {
    const adminToken =
      settings.adminToken === undefined && stage === 'local' ? await adminTokenFile(dataDir) : undefined
    const tls = await readTls(settings.tls)
    const functions = await loadFunctions()
    const own = settings.mqtt
    const withMqtt =
      own === undefined &&
      (ports.mqtt !== undefined ||
        ports.mqttWs !== undefined ||
        (tls !== undefined && ports.mqttTls !== undefined))
    let broker: Broker | undefined
    const mosquitto = typeof own === 'object' ? connectMosquitto(own) : undefined
    if (mosquitto) ending.push(() => mosquitto.close())
    const plane = withMqtt || mosquitto ? await openDataPlane(() => mosquitto ?? broker) : undefined
    const config: Config = {
      ...settings,
      adminToken: settings.adminToken ?? adminToken?.token,
      iot: plane && { endpoint: plane.endpoint, region: plane.region, credentials: plane.credentials },
    }
    runtime.configure({
      config,
      goesOn: true,
      cacheMs: config.database.url.startsWith('file:') ? cacheMs.file : cacheMs.server,
      routes: functions.routes,
      mqttPorts: () => ({ mqtt: broker?.port, mqttWs: broker?.wsPort, mqttTls: broker?.tlsPort }),
    })
    ending.push(runtime.close)
    if (plane) ending.push(() => plane.close())
    // At once: one after the other their times of grace would not fit into the 5 s.
    const doors: (() => Promise<void>)[] = []
    ending.push(async () => {
      await Promise.all(doors.map((close) => close()))
    })
    const log = runtime.log()
    ending.push(await prepareForStart(config, log))
    // Also what waits in the spool since the last time is handed on from here.
    await step(`The telemetry of ${dataDir} cannot be used`, async () => {
      await runtime.telemetry()
      await runtime.arrivals()
    })
    const http =
      ports.http === undefined
        ? undefined
        : await openHttpDoor({ host, port: ports.http, functions, tls, corsOrigins: config.corsOrigins })
    if (http) doors.push(() => http.close(graceMs))

    const arrivals = await runtime.arrivals()
    const devices = await runtime.devices()
    const rules = await loadRules(fileURLToPath(new URL('../iot-rules/', import.meta.url)))
    const handlers = new Map<string, (event: unknown) => Promise<unknown>>()
    for (const { functionName } of rules) handlers.set(functionName, await functions.event(functionName))
    const invoke = (functionName: string, event: Record<string, unknown>) =>
      (handlers.get(functionName)?.(event) ?? Promise.resolve()) as Promise<void>

    if (typeof own === 'object') {
      const accounts = await runtime.accounts()
      const leader = startLeader({
        leases: await runtime.leases(),
        open: () =>
          startBridge({
            ...own,
            rules,
            invoke,
            nextMessageId: nextRequestId,
            arrival: arrivals.next,
            onTraffic: devices.seen,
            log: (level, msg, fields) => log[level](msg, fields),
          }),
        settle: async () => accounts?.settle(),
        log,
      })
      doors.push(() => leader.close())
    }

    if (withMqtt) {
      // Nobody is connected to a broker that has not started.
      await (await runtime.presence()).reset(Date.now())
      const gate = await runtime.gate()
      const authorize = await functions.event('mqtt-authorize')
      broker = await startBroker({
        host,
        port: ports.mqtt ?? 'none',
        wsPort: ports.mqttWs ?? 'none',
        ...(tls && ports.mqttTls !== undefined ? { tls: { port: ports.mqttTls, ...tls } } : {}),
        rules,
        nextMessageId: nextRequestId,
        arrival: arrivals.next,
        authorize: async (event: AuthorizerEvent) => (await authorize(event)) as AuthorizerResult,
        invoke,
        throttle: (principalId) => gate.holdBack(Number(principalId)),
        onTraffic: (principalId) => devices.seen(Number(principalId)),
        log: (level, msg, fields) => log[level](msg, fields),
        limits: { authFailuresPerMinutePerIp: config.limits.ipPerMinute },
      })
      const running = broker
      doors.push(() => running.close())
      // This broker keeps its retained messages in memory only.
      await (await runtime.configurations()).republish()
    }

    const scheme = tls ? 'https' : 'http'
    const shownHost = host.includes(':') ? `[${host}]` : host
    return {
      httpUrl: http && `${scheme}://${shownHost}:${http.port}`,
      ports: { http: http?.port, mqtt: broker?.port, mqttWs: broker?.wsPort, mqttTls: broker?.tlsPort },
      adminToken,
      close: end,
    }
  } catch (error) {
    await end()
    throw error
  }
}
