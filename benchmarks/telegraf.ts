/** The peer of the bridge: Telegraf, which reads the same messages from Mosquitto and writes the same values to InfluxDB. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bucket, InfluxSettings } from './bucket.ts'
import { BenchError } from './measure.ts'
import type { Mosquitto } from './mosquitto.ts'
import { processTreeCpu } from './process-tree.ts'

export interface TelegrafOptions {
  /** Path of the program. */
  readonly program: string
  /** For its configuration and its log. */
  readonly folder: string
  readonly broker: Mosquitto
  readonly clientId: string
  readonly bucket: Bucket
  readonly influx: InfluxSettings
}

export interface Telegraf {
  readonly pid: number
  /** CPU that it has used so far, µs. */
  cpu(): Promise<number>
  end(): Promise<void>
}

/** The field of its points that is counted. */
export const telegrafField = { measurement: 'mqtt_consumer', field: 'n' } as const

/**
 * As durable as the bridge: it acknowledges a message when InfluxDB has it. So many messages may be under way that batches fill,
 * and a batch that does not is written after 200 ms. On one machine compression would only cost CPU.
 */
const configurationOf = ({ broker, clientId, bucket, influx }: TelegrafOptions): string => `
[agent]
  interval = "10s"
  flush_interval = "200ms"
  flush_jitter = "0s"
  metric_batch_size = 5000
  metric_buffer_limit = 200000
  precision = "1ns"
  omit_hostname = true
  quiet = true

[[inputs.mqtt_consumer]]
  servers = ["tcp://127.0.0.1:${broker.port}"]
  topics = ["iotflow/devices/+/telemetry/#"]
  topic_tag = "topic"
  qos = 1
  persistent_session = true
  client_id = "${clientId}"
  username = "${broker.username}"
  password = "${broker.password}"
  max_undelivered_messages = 20000
  max_reconnect_interval = "1s"
  data_format = "json"

[[outputs.influxdb_v2]]
  urls = ["${influx.INFLUXDB_URL}"]
  token = "\${INFLUXDB_TOKEN}"
  organization = "${influx.INFLUXDB_ORG}"
  bucket = "${bucket.name}"
  content_encoding = "identity"
`

/** @throws {BenchError} when it does not connect to the broker. */
export async function startTelegraf(options: TelegrafOptions): Promise<Telegraf> {
  const { program, folder, broker, clientId, influx } = options
  const file = join(folder, 'telegraf.conf')
  const logFile = join(folder, 'telegraf.log')
  await writeFile(file, configurationOf(options))
  const log = openSync(logFile, 'a')
  const connected = broker.nextConnection(clientId)
  const { PATH = '', HOME = '' } = process.env
  const env = { PATH, HOME, INFLUXDB_TOKEN: influx.INFLUXDB_TOKEN }
  const child = spawn(program, ['--config', file], { env, stdio: ['ignore', log, log] })
  closeSync(log)
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  const ended = once(child, 'exit')
  const failed = Promise.race([ended, once(child, 'error'), sleep(15_000, undefined, { ref: false })]).then(
    async () => {
      throw new BenchError(`Telegraf did not start:\n${(await readFile(logFile, 'utf8')).slice(-2000)}`)
    },
  )
  failed.catch(() => undefined)
  await Promise.race([connected, failed])
  const pid = child.pid ?? 0
  return {
    pid,
    cpu: () => processTreeCpu(pid),
    async end() {
      process.off('exit', kill)
      child.kill('SIGKILL')
      await ended
    },
  }
}
