/** What `bench:bridge` measures: programs that read telemetry from a Mosquitto, each with a broker and a store of its own. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openRegistry } from '../lib/registry/db.ts'
import { devices as deviceTable } from '../lib/registry/schema.ts'
import { root } from '../lib/root.ts'
import { Bucket, influxSettings } from './bucket.ts'
import { startCheckout } from './checkout.ts'
import { BenchError } from './measure.ts'
import { type Mosquitto, startMosquitto } from './mosquitto.ts'
import { startServer } from './process.ts'
import { processTreeCpu } from './process-tree.ts'
import { accountingOf } from './scenarios.ts'
import { startTelegraf, telegrafField } from './telegraf.ts'

export interface Consumer {
  readonly name: string
  readonly broker: Mosquitto
  /** Names its session at the broker. */
  readonly clientId: string
  readonly pid: number
  /** CPU that it has used so far, µs. */
  cpu(): Promise<number>
  /** Messages that it has stored so far; asking costs it or its store a few milliseconds at most. */
  stored(): Promise<number>
  /** Different readings in its store, read from there where that is another program. */
  counted(): Promise<number>
  end(): Promise<void>
}

export interface ConsumerOptions {
  /** For its data and logs. */
  readonly folder: string
  /** That send the messages. */
  readonly devices: number
}

type Open = (options: ConsumerOptions) => Promise<Consumer>

/** The floor. */
const openCounting: Open = async ({ folder }) => {
  const broker = await startMosquitto(folder)
  const [clientId, account] = ['counting', [broker.username, broker.password]]
  const args = [String(broker.port), clientId, ...account]
  const server = await startServer<{ pid: number }>('counting.ts', { args })
  const { pid } = server.facts
  const stored = async () => (await server.ask('count')) as number
  return {
    // The kernel is asked: a program that is stopped does not answer.
    ...{ name: 'counted only', broker, clientId, pid, cpu: () => processTreeCpu(pid), stored },
    counted: stored,
    async end() {
      await server.end()
      await broker.end()
    },
  }
}

/** Writes the devices into the registry before the server starts: over HTTP each would get an account at the broker. */
const fillRegistry = async (dataDir: string, devices: number): Promise<void> => {
  await mkdir(dataDir, { recursive: true })
  const registry = await openRegistry({ url: `file:${join(dataDir, 'registry.db')}` })
  await registry.migrate()
  const at = Date.now()
  const rows = Array.from({ length: devices }, (_, n) => ({
    ...{ name: `bench-${n + 1}`, deviceType: 'bench_sensor', location: 'Living Room' },
    ...{ createdAt: at, updatedAt: at },
  }))
  await registry.db.insert(deviceTable).values(rows)
  registry.close()
}

/** The server as `npm start` runs it. @param checkout folder of its sources. */
const openServer =
  (name: string, store: 'embedded' | 'influxdb', checkout = fileURLToPath(root)): Open =>
  async ({ folder, devices }) => {
    const broker = await startMosquitto(folder)
    const bucket = store === 'influxdb' ? new Bucket() : undefined
    const dataDir = join(folder, name.replaceAll(' ', '-'))
    await fillRegistry(dataDir, devices)
    const connected = broker.nextConnection('iotflow-bridge')
    const server = await startCheckout(checkout, dataDir, {
      ...{ DATABASE_URL: '', REDIS_URL: '', INFLUXDB_URL: '', INFLUXDB_TOKEN: '' },
      ...(bucket === undefined ? {} : { ...influxSettings(), INFLUXDB_BUCKET: bucket.name }),
      ...{ MQTT_URL: broker.url, MQTT_USERNAME: broker.username, MQTT_PASSWORD: broker.password },
    })
    await connected
    const account = async () => {
      const { stored, rejected, spooled } = await accountingOf(server)
      if (rejected + spooled > 0) throw new BenchError(`${name}: ${rejected} rejected, ${spooled} spooled`)
      return stored
    }
    return {
      ...{ name, broker, clientId: 'iotflow-bridge', pid: server.pid, cpu: server.cpu },
      stored: () => bucket?.written() ?? account(),
      async counted() {
        const stored = await account()
        if (bucket !== undefined && stored !== (await bucket.count()))
          throw new BenchError(`${name}: its account and InfluxDB differ`)
        return stored
      },
      async end() {
        await server.end()
        await broker.end()
        await bucket?.remove()
      },
    }
  }

/** The peer. @param program path of Telegraf. */
const openTelegraf =
  (program: string): Open =>
  async ({ folder }) => {
    const broker = await startMosquitto(folder)
    const bucket = new Bucket()
    await bucket.create()
    const clientId = 'telegraf'
    const influx = influxSettings()
    const telegraf = await startTelegraf({ program, folder, broker, clientId, bucket, influx })
    return {
      ...{ name: 'Telegraf, influxdb', broker, clientId, pid: telegraf.pid, cpu: telegraf.cpu },
      stored: () => bucket.written(),
      counted: () => bucket.count(telegrafField),
      async end() {
        await telegraf.end()
        await broker.end()
        await bucket.remove()
      },
    }
  }

/** The names of our own contenders, which rows of goals are about. */
export const ours = { embedded: 'stored, embedded', influxdb: 'stored, influxdb' } as const

/**
 * Opens what can be measured here: InfluxDB where INFLUXDB_URL is set, and the peer where TELEGRAF names the program, too.
 * @param against folder of another checkout, whose server with InfluxDB is measured as well.
 */
export async function openConsumers(
  options: ConsumerOptions,
  { only, against }: { only?: readonly string[] | undefined; against?: string | undefined },
): Promise<Consumer[]> {
  const hasInflux = influxSettings().INFLUXDB_URL !== ''
  const { TELEGRAF = '' } = process.env
  const opens: [word: string, open: Open | undefined][] = [
    ['counting', openCounting],
    ['embedded', openServer(ours.embedded, 'embedded')],
    ['influxdb', hasInflux ? openServer(ours.influxdb, 'influxdb') : undefined],
    ['telegraf', hasInflux && TELEGRAF !== '' ? openTelegraf(TELEGRAF) : undefined],
    ['against', against && hasInflux ? openServer('other, influxdb', 'influxdb', against) : undefined],
  ]
  const opened: Consumer[] = []
  for (const [word, open] of opens) {
    if (open === undefined || (only !== undefined && !only.includes(word))) continue
    opened.push(await open(options))
  }
  return opened
}
