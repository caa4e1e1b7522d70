/** Loads that are run against the server and against its floor: a program that does only what the protocol requires. */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { Bucket, influxSettings, missingForInflux } from './bucket.ts'
import {
  answerSize,
  batchRequests,
  countStored,
  type FleetDevice,
  mqttDevices,
  readingsOfBatch,
  registerFleet,
  registerRequests,
  telemetryRequests,
} from './fleet.ts'
import { runHttpLoad } from './http-load.ts'
import { BenchError, type Contender, type Result, type Run } from './measure.ts'
import { type MqttLoad, openMqttLoad } from './mqtt-load.ts'
import type { PortFacts, Server } from './process.ts'
import type { InsertTimes } from './servers/bare-insert.ts'
import type { StandaloneFacts } from './servers/standalone.ts'

export const kinds = ['http', 'batches', 'influx', 'mqtt', 'register'] as const
export type Kind = (typeof kinds)[number]

const httpConnections = 64
const registerConnections = 16
/** Publishes of one device that wait for their PUBACK at the same time; real devices have one. */
const mqttWindow = 1

/** What the loads need. */
export interface Bench {
  readonly dir: string
  readonly server: Server<StandaloneFacts>
  readonly fleet: readonly FleetDevice[]
  /** Starts a server that ends with the benchmark. */
  start<Facts>(file: string, ...args: string[]): Promise<Server<Facts>>
  /** Runs the contenders by turns. */
  measure(contenders: readonly Contender[]): Promise<Result[]>
  report(text: string): void
}

export interface FloorScenario {
  /** Share of the floor's rate that the server must reach. */
  readonly required: number
  /** What the floor is, in words. */
  readonly floor: string
  /** @returns the figures of the floor, of the server, and for some of a bare program. */
  run(bench: Bench): Promise<{ title: string; results: Result[] }>
}

const urlOf = ({ facts }: Server<StandaloneFacts>) => `http://127.0.0.1:${facts.httpPort}`

/** Runs a load and compares the acknowledged readings with the stored ones. @throws {BenchError} when they differ. */
const counted = async (
  { report }: Bench,
  stored: () => Promise<number>,
  load: (tally: (run: Run) => Run) => Promise<Result[]>,
): Promise<Result[]> => {
  const before = await stored()
  let acknowledged = 0
  const results = await load((run) => {
    acknowledged += run.acknowledged
    return run
  })
  const count = (await stored()) - before
  if (count !== acknowledged)
    throw new BenchError(`${acknowledged} readings were acknowledged and ${count} are stored`)
  report(`  all ${count} acknowledged readings are stored\n`)
  return results
}

/** What a floor did that answers with the milliseconds of each of its steps. */
const runOfTimes = (latencies: readonly number[], seconds: number, each = 1): Run => {
  const count = latencies.length * each
  return { completed: count, acknowledged: count, seconds, latencies, errors: new Map(), loadCpu: 0 }
}

const http: FloorScenario = {
  required: 0.7,
  floor: 'a Hono echo',
  async run(bench) {
    const { fleet, server } = bench
    const [device] = fleet as [FleetDevice]
    const bytes = await answerSize(urlOf(server), device)
    const floor = await bench.start<PortFacts>('hono-echo.ts', String(bytes))
    const next = telemetryRequests(fleet)
    const load = (port: number, seconds: number) =>
      runHttpLoad({ port, connections: httpConnections, seconds, next, expected: 201 })
    const results = await counted(
      bench,
      () => countStored(urlOf(server), fleet),
      (tally) =>
        bench.measure([
          { ...floor, name: 'Hono echo', run: (seconds) => load(floor.facts.port, seconds) },
          {
            ...server,
            name: 'server',
            run: async (seconds) => tally(await load(server.facts.httpPort, seconds)),
          },
        ]),
    )
    const title = `HTTP telemetry: ${httpConnections} connections, ${fleet.length} devices, ${device.payload.length} bytes, answers of ${bytes}`
    return { title, results }
  },
}

const batches: FloorScenario = {
  required: 0.6,
  floor: 'the bare prepared insert of the same rows',
  async run(bench) {
    const { fleet, server, dir } = bench
    const floor = await bench.start('bare-readings.ts', dir, String(readingsOfBatch))
    const insert = async (seconds: number): Promise<Run> =>
      runOfTimes((await floor.ask('insert', seconds)) as InsertTimes, seconds, readingsOfBatch)
    const next = batchRequests(fleet)
    const load = async (seconds: number): Promise<Run> => {
      const port = server.facts.httpPort
      const run = await runHttpLoad({ port, connections: httpConnections, seconds, next, expected: 201 })
      const readings = (count: number) => count * readingsOfBatch
      return { ...run, completed: readings(run.completed), acknowledged: readings(run.acknowledged) }
    }
    const results = await counted(
      bench,
      () => countStored(urlOf(server), fleet),
      (tally) =>
        bench.measure([
          { ...floor, name: 'bare insert', run: insert },
          { ...server, name: 'server', run: async (seconds) => tally(await load(seconds)) },
        ]),
    )
    const title = `HTTP batches: ${httpConnections} connections, ${readingsOfBatch} readings each; rates and µs are of readings, ms of batches`
    return { title, results }
  },
}

const influx: FloorScenario = {
  required: 0.6,
  floor: 'the server with the embedded store',
  async run(bench) {
    const missing = missingForInflux(true)
    if (missing !== undefined) throw new BenchError(missing)
    const [bucket, bareBucket] = [new Bucket(), new Bucket()]
    const settings = { ...influxSettings(), INFLUXDB_BUCKET: bucket.name }
    const beside = await bench.start<StandaloneFacts>(
      'standalone.ts',
      join(bench.dir, `influx-${randomUUID()}`),
      ...Object.entries(settings).map((setting) => setting.join('=')),
    )
    try {
      const fleet = await registerFleet(urlOf(beside), bench.fleet.length)
      await bareBucket.create()
      const bytes = await answerSize(urlOf(beside), fleet[0] as FleetDevice)
      const bare = await bench.start<PortFacts>('bare-influx.ts', bench.dir, bareBucket.name, String(bytes))
      const contender = (
        name: string,
        measured: Server<unknown>,
        port: number,
        devices: readonly FleetDevice[],
      ) => {
        const next = telemetryRequests(devices)
        return {
          ...measured,
          name,
          run: (seconds: number) =>
            runHttpLoad({ port, connections: httpConnections, seconds, next, expected: 201 }),
        }
      }
      const withInflux = contender('with InfluxDB', beside, beside.facts.httpPort, fleet)
      const bareProgram = contender('bare, with InfluxDB', bare, bare.facts.port, fleet)
      let ofBareProgram = 0
      const results = await counted(
        bench,
        () => bucket.count(),
        (tally) =>
          bench.measure([
            contender('embedded', bench.server, bench.server.facts.httpPort, bench.fleet),
            { ...withInflux, run: async (seconds) => tally(await withInflux.run(seconds)) },
            {
              ...bareProgram,
              run: async (seconds) => {
                const run = await bareProgram.run(seconds)
                ofBareProgram += run.acknowledged
                return run
              },
            },
          ]),
      )
      const stored = await bareBucket.count()
      if (stored !== ofBareProgram)
        throw new BenchError(
          `the bare program acknowledged ${ofBareProgram} readings, and ${stored} are stored`,
        )
      return {
        title: `HTTP telemetry into InfluxDB: ${httpConnections} connections, ${fleet.length} devices`,
        results,
      }
    } finally {
      await beside.end()
      await Promise.all([bucket.remove(), bareBucket.remove()])
    }
  },
}

const mqtt: FloorScenario = {
  required: 0.6,
  floor: 'aedes alone',
  async run(bench) {
    const { fleet, server } = bench
    const floor = await bench.start<PortFacts>('bare-aedes.ts')
    const devices = mqttDevices(fleet)
    const loads: MqttLoad[] = []
    const contender = async (name: string, measured: Server<unknown>, port: number) => {
      const load = await openMqttLoad(port, devices, mqttWindow)
      loads.push(load)
      return { ...measured, name, run: load.run }
    }
    try {
      const bare = await contender('bare aedes', floor, floor.facts.port)
      const ours = await contender('server', server, server.facts.mqttPort)
      const results = await counted(
        bench,
        () => countStored(urlOf(server), fleet),
        (tally) => bench.measure([bare, { ...ours, run: async (seconds) => tally(await ours.run(seconds)) }]),
      )
      const title = `MQTT QoS 1: ${devices.length} connections, ${mqttWindow} publish each under way, ${devices[0]?.payload.length} bytes`
      return { title, results }
    } finally {
      for (const load of loads) load.close()
    }
  },
}

const register: FloorScenario = {
  required: 0.6,
  floor: 'one insert after the other',
  async run(bench) {
    const { server, dir } = bench
    const floor = await bench.start('bare-insert.ts', dir)
    const next = registerRequests()
    const load = (seconds: number) => {
      const port = server.facts.httpPort
      return runHttpLoad({ port, connections: registerConnections, seconds, next, expected: 201 })
    }
    const results = await bench.measure([
      {
        ...floor,
        name: 'bare insert',
        run: async (seconds) => runOfTimes((await floor.ask('insert', seconds)) as InsertTimes, seconds),
      },
      { ...server, name: 'server', run: load },
    ])
    return { title: `Registrations: ${registerConnections} connections`, results }
  },
}

export const scenarios: Readonly<Record<Kind, FloorScenario>> = { http, batches, influx, mqtt, register }
