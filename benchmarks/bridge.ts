/**
 * `npm run bench:bridge`: from a Mosquitto to the store, beside a subscriber that only counts. The messages wait in the broker,
 * so that no publisher takes part; each run empties the same number of them.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { connectAsync } from 'mqtt'
import { loadConfig } from '../lib/config.ts'
import { createLog } from '../lib/log.ts'
import { nextRequestId } from '../lib/request-id.ts'
import * as runtime from '../lib/runtime.ts'
import { startBridge } from '../local/bridge.ts'
import { prepareDatabases } from '../local/databases.ts'
import { loadFunctions } from '../local/functions.ts'
import { loadRules } from '../local/rules.ts'
import { median } from './measure.ts'

const help = `Messages a second from a Mosquitto into the store, and beside it to a subscriber that only counts.

  npm run bench:bridge -- [--messages 20000] [--rounds 5]

Needs mosquitto. With INFLUXDB_URL and INFLUXDB_TOKEN the store is InfluxDB, else the embedded one.
`

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })

const binary = ['mosquitto', '/usr/sbin/mosquitto'].find((name) => !spawnSync(name, ['-h']).error)

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
  const url = `mqtt://127.0.0.1:${port}`
  const open = () => connectAsync(url, { reconnectPeriod: 100, connectTimeout: 5000 })
  const account = { username: '', password: '' }

  const functions = await loadFunctions()
  const config = loadConfig({
    ...process.env,
    DATA_DIR: folder,
    LOG_LEVEL: 'silent',
    INFLUXDB_BUCKET: `bench-${process.pid}`,
    MQTT_URL: '',
  })
  await prepareDatabases(config, createLog('silent'))
  runtime.configure({ config, cacheMs: 60_000, routes: functions.routes })
  const devices = await runtime.devices()
  const ids: number[] = []
  for (let n = 0; n < 1000; n += 1)
    ids.push((await devices.register({ name: `bench-${n}`, deviceType: 'sensor' })).device.id)
  const rules = await loadRules(fileURLToPath(new URL('../iot-rules/', import.meta.url)))
  const ingest = await functions.event('telemetry-ingest')

  let sent = 0
  const run = async (invoke: (event: Record<string, unknown>) => Promise<void>): Promise<number> => {
    let left = messages
    let began = 0
    let over = () => {}
    const ended = new Promise<void>((resolve) => {
      over = resolve
    })
    const start = () =>
      startBridge({
        url,
        ...account,
        clientId: 'bench',
        rules,
        invoke: async (_name, event) => {
          began ||= performance.now()
          await invoke(event)
          left -= 1
          if (left === 0) over()
        },
        nextMessageId: nextRequestId,
        arrival: Date.now,
        log: () => {},
      })
    // Once, for the session; then the messages wait for it.
    const first = start()
    await first.ready
    await first.close()
    const publisher = await open()
    for (let n = 0; n < messages; n += 1000) {
      const slice = Array.from({ length: Math.min(1000, messages - n) }, () => {
        sent += 1
        const id = ids[sent % ids.length]
        const payload = JSON.stringify({ temperature: 20 + (sent % 100) / 10, humidity: 60, n: sent })
        return publisher.publishAsync(`iotflow/devices/${id}/telemetry`, payload, { qos: 1 })
      })
      await Promise.all(slice)
    }
    await publisher.endAsync()
    const bridge = start()
    await ended
    const seconds = (performance.now() - began) / 1000
    await bridge.close()
    return messages / seconds
  }

  const counted: number[] = []
  const stored: number[] = []
  const telemetry = await runtime.telemetry()
  for (let round = 0; round < rounds; round += 1) {
    counted.push(await run(async () => {}))
    stored.push(await run(async (event) => void (await ingest(event))))
    process.stderr.write(`round ${round + 1} of ${rounds}\n`)
  }
  const counts = await telemetry.account()
  const share = median(stored) / median(counted)
  process.stdout.write(
    `\n${messages} messages of ${ids.length} devices, median of ${rounds}\n\n` +
      `  counted only            ${Math.round(median(counted))} messages/s\n` +
      `  stored, ${telemetry.backend.padEnd(15)} ${Math.round(median(stored))} messages/s   ${Math.round(share * 100)} %\n\n` +
      `${counts.stored} readings stored, ${counts.spooled} wait in the spool, of ${rounds * messages} sent.\n`,
  )
  await runtime.close()
  broker.kill()
  await rm(folder, { recursive: true, force: true })
}

main().then(
  () => process.exit(0),
  (error: Error) => {
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  },
)
