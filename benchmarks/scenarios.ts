/** What is measured of a checkout: one load against its server, started for it alone. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Bucket, influxSettings } from './bucket.ts'
import { type CheckoutServer, startCheckout } from './checkout.ts'
import { connectLoad } from './connect-load.ts'
import { adminToken, Dashboards } from './dashboards.ts'
import { countStored, type FleetDevice, mqttDevices, registerFleet, telemetryRequests } from './fleet.ts'
import { runHttpLoad } from './http-load.ts'
import { BenchError, type Contender, type Run } from './measure.ts'
import { type Message, Publisher, startMosquitto } from './mosquitto.ts'
import { openMqttLoad } from './mqtt-load.ts'
import { createRules } from './rules.ts'

export const scenarioNames = ['http', 'mqtt', 'connects', 'influx'] as const
export type ScenarioName = (typeof scenarioNames)[number]

/** A server that is running, with a load that can be run against it again and again. */
export interface Subject extends Contender {
  /** Readings that the server has stored since it was started. */
  stored(): Promise<number>
  end(): Promise<void>
}

export interface SubjectOptions {
  /** Of the checkout. */
  readonly folder: string
  /** `ours` or `other`. */
  readonly name: string
  /** For data and logs. */
  readonly workFolder: string
  /** Messages of one run, where the load is a number of messages and not a time. */
  readonly messages: number
  /** That are open all the time. */
  readonly dashboards: number
  /** Alert rules for each device. */
  readonly rules: number
}

const fleetSize = 1000
/** Mosquitto rewrites the file of its accounts for each new device, which takes long for many. */
const influxFleetSize = 100
const httpConnections = 64
/** Publishes that a device sends before it waits for a PUBACK: as devices do, each waits for its own. */
const mqttWindow = 1
/** Connections of each device in a run. */
const connectsPerRun = 2

/** Embedded stores and broker, whatever a `.env` of the checkout says. */
const embedded = { MQTT_URL: '', INFLUXDB_URL: '', INFLUXDB_TOKEN: '', DATABASE_URL: '', REDIS_URL: '' }

const start = async (
  { folder, name, workFolder, dashboards: count, rules }: SubjectOptions,
  scenario: ScenarioName,
  settings: Readonly<Record<string, string>>,
  devices = fleetSize,
) => {
  const dataDir = join(workFolder, `${scenario}-${name}`)
  const server = await startCheckout(folder, dataDir, { ADMIN_TOKEN: adminToken, ...settings })
  const fleet = await registerFleet(server.url, devices)
  await createRules(server.url, fleet, rules)
  const dashboards = new Dashboards()
  await dashboards.open(server.url, count, fleet[0]?.id ?? 1)
  const end = async () => {
    await dashboards.close()
    await server.end()
  }
  return { server: { ...server, end }, fleet }
}

const openHttp = async (options: SubjectOptions): Promise<Subject> => {
  const { server, fleet } = await start(options, 'http', embedded)
  const next = telemetryRequests(fleet)
  return {
    name: options.name,
    cpu: server.cpu,
    stored: () => countStored(server.url, fleet),
    run: (seconds) =>
      runHttpLoad({ port: server.httpPort, connections: httpConnections, seconds, next, expected: 201 }),
    end: server.end,
  }
}

const openMqtt = async (options: SubjectOptions): Promise<Subject> => {
  const { server, fleet } = await start(options, 'mqtt', embedded)
  const load = await openMqttLoad(server.mqttPort, mqttDevices(fleet), mqttWindow)
  return {
    name: options.name,
    cpu: server.cpu,
    stored: () => countStored(server.url, fleet),
    run: load.run,
    async end() {
      load.close()
      await server.end()
    },
  }
}

const openConnects = async (options: SubjectOptions): Promise<Subject> => {
  const { server, fleet } = await start(options, 'connects', embedded)
  const run = connectLoad(server.mqttPort, mqttDevices(fleet), connectsPerRun)
  let connected = 0
  return {
    name: options.name,
    cpu: server.cpu,
    // Nothing is stored: every connection that was accepted counts.
    stored: async () => connected,
    async run() {
      const done = await run()
      connected += done.acknowledged
      return done
    },
    end: server.end,
  }
}

// --- Mosquitto → bridge → InfluxDB -------------------------------------------------------------------------------

interface Accounting {
  readonly stored: number
  readonly spooled: number
  readonly rejected: number
}

/** The server's own count; unlike a query of InfluxDB it costs the server almost nothing. */
export const accountingOf = async ({ url }: Pick<CheckoutServer, 'url'>): Promise<Accounting> => {
  const response = await fetch(`${url}/api/v1/telemetry/status`)
  const { accounting } = (await response.json()) as { accounting?: Accounting }
  if (accounting === undefined) throw new BenchError(`${url}/api/v1/telemetry/status shows no accounting`)
  return accounting
}

const askEveryMs = 50
/** Milliseconds without progress after which a run fails. */
const stalledMs = 30_000

/** Resolves when the server has stored this many readings since it was started. */
const untilStored = async (server: CheckoutServer, wanted: number): Promise<void> => {
  let best = 0
  let progressAt = performance.now()
  for (;;) {
    const { stored, rejected } = await accountingOf(server)
    if (rejected > 0) throw new BenchError(`${rejected} readings were rejected`)
    if (stored >= wanted) return
    if (stored > best) {
      best = stored
      progressAt = performance.now()
    }
    if (performance.now() - progressAt > stalledMs)
      throw new BenchError(`${stored} of ${wanted} readings are stored, and no more come`)
    await sleep(askEveryMs)
  }
}

const openInflux = async (options: SubjectOptions): Promise<Subject> => {
  const bucket = new Bucket()
  const broker = await startMosquitto(options.workFolder)
  const settings = {
    ...embedded,
    ...influxSettings(),
    INFLUXDB_BUCKET: bucket.name,
    MQTT_URL: broker.url,
    MQTT_USERNAME: broker.username,
    MQTT_PASSWORD: broker.password,
  }
  const { server, fleet } = await start(options, 'influx', settings, influxFleetSize)
  const publisher = await Publisher.open(broker.port)
  let sent = 0
  const nextMessage = (): Message => {
    const { id, payload } = fleet[sent++ % fleet.length] as FleetDevice
    return { topic: `iotflow/devices/${id}/telemetry`, payload }
  }
  return {
    name: options.name,
    cpu: server.cpu,
    stored: () => bucket.count(),
    async run(): Promise<Run> {
      const messages = Array.from({ length: options.messages }, nextMessage)
      const cpu = process.cpuUsage()
      const began = performance.now()
      await publisher.publish(messages)
      await untilStored(server, sent)
      const seconds = (performance.now() - began) / 1000
      const { user, system } = process.cpuUsage(cpu)
      const count = messages.length
      return {
        completed: count,
        acknowledged: count,
        seconds,
        latencies: [],
        errors: new Map(),
        loadCpu: user + system,
      }
    },
    async end() {
      publisher.close()
      await server.end()
      await broker.end()
      await bucket.remove()
    },
  }
}

export const scenarios: Record<
  ScenarioName,
  { readonly title: string; open(options: SubjectOptions): Promise<Subject> }
> = {
  http: { title: `HTTP telemetry, embedded store: ${httpConnections} connections`, open: openHttp },
  mqtt: { title: `MQTT QoS 1, embedded broker and store: ${fleetSize} connections`, open: openMqtt },
  connects: {
    title: `MQTT connect and disconnect, embedded broker: ${fleetSize} devices, ${connectsPerRun} times`,
    open: openConnects,
  },
  influx: { title: 'Mosquitto → bridge → InfluxDB', open: openInflux },
}
