/**
 * `npm run bench:bridge`: from Mosquitto into each store, compared with a subscriber that only counts and acknowledges. The
 * messages wait in the broker before a run begins, so that no publisher runs at the same time.
 */
import { once } from 'node:events'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import mqttPacket, { type Packet } from 'mqtt-packet'
import { ingestTelemetry, type TelemetryEvent } from '../functions/telemetry/ingest.ts'
import { loadConfig } from '../lib/config.ts'
import { createLog } from '../lib/log.ts'
import { nextRequestId } from '../lib/request-id.ts'
import { root } from '../lib/root.ts'
import * as runtime from '../lib/runtime.ts'
import { prepareDatabases } from '../local/databases.ts'
import { startBridge } from '../local/mqtt/mosquitto/bridge.ts'
import { loadRules } from '../local/mqtt/rules.ts'
import { median } from './measure.ts'
import { type Message, type Mosquitto, Publisher, startMosquitto } from './mosquitto.ts'

const help = `Messages per second from Mosquitto into the store, compared with a subscriber that only counts.

  npm run bench:bridge -- [--messages 20000] [--rounds 5]

Needs mosquitto. With INFLUXDB_URL and INFLUXDB_TOKEN also into InfluxDB, in the same rounds.
`

/** All subscribers use the same session, because the broker queues every message for each session. */
const clientId = 'bench'

/** Reads the messages that wait in the session; `took` is called for every message. */
type Subscribe = (broker: Mosquitto, took: () => void) => Promise<{ close(): Promise<void> }>

/** The floor: it does only what the protocol requires. */
const countOnly: Subscribe = async ({ port, username, password }, took) => {
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
    username,
    password: Buffer.from(password),
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
  const [messages, rounds] = [Number(values.messages), Number(values.rounds)]
  const folder = await mkdtemp(join(tmpdir(), 'iotflow-bench-'))
  const broker = await startMosquitto(folder)
  const { url, username, password } = broker
  const publisher = await Publisher.open(broker.port)
  const rules = await loadRules(fileURLToPath(new URL('iot-rules/', root)))

  const devices = 1000
  let sent = 0
  /** @returns messages per second until `settled` resolves. */
  const run = async (subscribe: Subscribe, settled: () => Promise<void>): Promise<number> => {
    let left = messages
    let over = () => {}
    const ended = new Promise<void>((resolve) => {
      over = resolve
    })
    // The first connection creates the session, in which the messages then wait.
    await (await subscribe(broker, () => {})).close()
    const nextMessage = (): Message => {
      sent += 1
      const payload = JSON.stringify({ temperature: 20 + (sent % 100) / 10, humidity: 60, n: sent })
      return { topic: `iotflow/devices/${(sent % devices) + 1}/telemetry`, payload }
    }
    await publisher.publish(Array.from({ length: messages }, nextMessage))
    const began = performance.now()
    const subscriber = await subscribe(broker, () => {
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
  /** One run into a store. The runtime is opened for this run only, because a process has one at a time. */
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
      intake: await runtime.intake(),
      deadLetters: await runtime.deadLetters(),
      topics: runtime.topics(),
    }
    const ingest = ingestTelemetry(deps)
    for (let n = 1; n <= devices; n += 1) {
      if (round === 1) await deps.devices.register({ name: `bench-${n}`, deviceType: 'sensor' })
      await deps.devices.find(n)
    }
    const subscribe: Subscribe = async (_, took) => {
      const bridge = startBridge({
        url,
        username,
        password,
        clientId,
        rules,
        topics: runtime.topics(),
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
      while ((await (await runtime.telemetry()).account()).spooled > 0) await sleep(5)
    })
    if (round === rounds) stored += (await (await runtime.telemetry()).account()).stored
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
  publisher.close()
  await broker.end()
  await rm(folder, { recursive: true, force: true })
}

main().then(
  () => process.exit(0),
  (error: Error) => {
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  },
)
