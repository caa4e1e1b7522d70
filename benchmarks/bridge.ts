/**
 * `npm run bench:bridge`: from a Mosquitto to each store, beside a subscriber that only counts and acknowledges. The messages
 * wait in the broker, so that no publisher takes part; each run empties the same number of them.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { connectAsync } from 'mqtt'
import mqttPacket, { type Packet } from 'mqtt-packet'
import { ingestTelemetry, type TelemetryEvent } from '../functions/telemetry/ingest.ts'
import { loadConfig } from '../lib/config.ts'
import { createLog } from '../lib/log.ts'
import { nextRequestId } from '../lib/request-id.ts'
import * as runtime from '../lib/runtime.ts'
import { startBridge } from '../local/bridge.ts'
import { prepareDatabases } from '../local/databases.ts'
import { loadRules } from '../local/rules.ts'
import { median } from './measure.ts'

const help = `Messages a second from a Mosquitto into the store, and beside it to a subscriber that only counts.

  npm run bench:bridge -- [--messages 20000] [--rounds 5]

Needs mosquitto. With INFLUXDB_URL and INFLUXDB_TOKEN also into InfluxDB, in the same rounds.
`

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })

const binary = ['mosquitto', '/usr/sbin/mosquitto'].find((name) => !spawnSync(name, ['-h']).error)

/** One session for all: of two, each would get the messages of the other. */
const clientId = 'bench'

/** Reads what waits in the session; `took` is called for every message. */
type Subscribe = (port: number, took: () => void) => Promise<{ close(): Promise<void> }>

/** The floor: no more than the protocol asks for. */
const countOnly: Subscribe = async (port, took) => {
  const socket = connect(port, '127.0.0.1').setNoDelay(true)
  const closed = once(socket, 'close')
  const parser = mqttPacket.parser({ protocolVersion: 5 })
  const send = (packet: Packet) => socket.write(mqttPacket.generate(packet, { protocolVersion: 5 }))
  const subscribed = new Promise<void>((resolve) => {
    parser.on('packet', (packet: Packet) => {
      if (packet.cmd === 'suback') resolve()
      if (packet.cmd !== 'publish') return
      send({ cmd: 'puback', messageId: packet.messageId ?? 0 })
      took()
    })
  })
  socket.on('data', (chunk) => {
    socket.cork()
    parser.parse(chunk)
    socket.uncork()
  })
  send({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 5,
    clean: false,
    clientId,
    keepalive: 0,
    properties: { sessionExpiryInterval: 3600 },
  })
  const subscriptions = [{ topic: 'iotflow/devices/+/telemetry/#', qos: 1 } as const]
  send({ cmd: 'subscribe', messageId: 1, subscriptions })
  await subscribed
  return {
    async close() {
      send({ cmd: 'disconnect' })
      socket.end()
      await closed
    },
  }
}

const main = async () => {
  const { values } = parseArgs({
    options: {
      messages: { type: 'string', default: '20000' },
      rounds: { type: 'string', default: '5' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) return void process.stdout.write(help)
  if (binary === undefined) throw new Error('mosquitto is not installed: apt-get install mosquitto')
  const [messages, rounds] = [Number(values.messages), Number(values.rounds)]
  const folder = await mkdtemp(join(tmpdir(), 'iotflow-bench-'))
  const port = await freePort()
  const configuration = join(folder, 'mosquitto.conf')
  await writeFile(
    configuration,
    `user ${userInfo().username}\nlistener ${port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n`,
  )
  const broker = spawn(binary, ['-c', configuration], { stdio: 'ignore' })
  process.once('exit', () => broker.kill())
  const url = `mqtt://127.0.0.1:${port}`
  const publisher = await connectAsync(url, { reconnectPeriod: 100, connectTimeout: 5000 })
  const rules = await loadRules(fileURLToPath(new URL('../iot-rules/', import.meta.url)))

  const devices = 1000
  let sent = 0
  /** Messages a second, until `settled`. */
  const run = async (subscribe: Subscribe, settled: () => Promise<void>): Promise<number> => {
    let left = messages
    let over = () => {}
    const ended = new Promise<void>((resolve) => {
      over = resolve
    })
    // Once, for the session; then the messages wait for it.
    await (await subscribe(port, () => {})).close()
    for (let n = 0; n < messages; n += 1000) {
      const slice = Array.from({ length: Math.min(1000, messages - n) }, () => {
        sent += 1
        const payload = JSON.stringify({ temperature: 20 + (sent % 100) / 10, humidity: 60, n: sent })
        const topic = `iotflow/devices/${(sent % devices) + 1}/telemetry`
        return publisher.publishAsync(topic, payload, { qos: 1 })
      })
      await Promise.all(slice)
    }
    const began = performance.now()
    const subscriber = await subscribe(port, () => {
      left -= 1
      if (left === 0) over()
    })
    await ended
    await settled()
    const seconds = (performance.now() - began) / 1000
    await subscriber.close()
    return messages / seconds
  }

  const stores = process.env.INFLUXDB_URL ? (['embedded', 'influxdb'] as const) : (['embedded'] as const)
  let stored = 0
  /** One run into a store, on a layer that is opened for it: a process has one at a time. */
  const store = async (name: (typeof stores)[number], round: number): Promise<number> => {
    const config = loadConfig({
      ...process.env,
      ...(name === 'embedded' ? { INFLUXDB_URL: '', INFLUXDB_TOKEN: '' } : {}),
      DATA_DIR: join(folder, name),
      DATABASE_URL: '',
      LOG_LEVEL: 'silent',
      INFLUXDB_BUCKET: `bench-${process.pid}`,
      MQTT_URL: '',
    })
    await mkdir(config.dataDir, { recursive: true })
    await prepareDatabases(config, createLog('silent'))
    runtime.configure({ config, cacheMs: 60_000 })
    const deps = {
      log: runtime.log(),
      devices: await runtime.devices(),
      telemetry: await runtime.telemetry(),
      deadLetters: await runtime.deadLetters(),
    }
    const ingest = ingestTelemetry(deps)
    for (let n = 1; n <= devices; n += 1) {
      if (round === 1) await deps.devices.register({ name: `bench-${n}`, deviceType: 'sensor' })
      await deps.devices.find(n)
    }
    const subscribe: Subscribe = async (_, took) => {
      const bridge = startBridge({
        url,
        username: '',
        password: '',
        clientId,
        rules,
        invoke: async (_name, event) => {
          await ingest(event as unknown as TelemetryEvent)
          took()
        },
        nextMessageId: nextRequestId,
        arrival: Date.now,
        log: () => {},
      })
      await bridge.ready
      return bridge
    }
    const rate = await run(subscribe, async () => {
      while ((await deps.telemetry.account()).spooled > 0) await sleep(5)
    })
    if (round === rounds) stored += (await deps.telemetry.account()).stored
    await runtime.close()
    return rate
  }

  const floor: number[] = []
  const rates = new Map<string, number[]>(stores.map((name) => [name, []]))
  for (let round = 1; round <= rounds; round += 1) {
    floor.push(await run(countOnly, async () => {}))
    for (const name of stores) rates.get(name)?.push(await store(name, round))
    process.stderr.write(`round ${round} of ${rounds}\n`)
  }
  const line = (name: string, measured: readonly number[]) =>
    `  ${name.padEnd(22)} ${String(Math.round(median(measured))).padStart(7)} messages/s  ` +
    `${String(Math.round((100 * median(measured)) / median(floor))).padStart(4)} %\n`
  process.stdout.write(
    `\n${messages} messages of ${devices} devices, median of ${rounds}\n\n` +
      line('counted only', floor) +
      stores.map((name) => line(`stored, ${name}`, rates.get(name) ?? [])).join('') +
      `\n${stored} readings stored, of ${stores.length * rounds * messages} sent.\n`,
  )
  await publisher.endAsync()
  await rm(folder, { recursive: true, force: true })
}

main().then(
  () => process.exit(0),
  (error: Error) => {
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  },
)
