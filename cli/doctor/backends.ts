/** Checks of what the server uses: databases, InfluxDB, Redis, the broker. */
import { connect } from 'node:net'
import type { Config } from '../../lib/config.ts'
import { errorCode } from '../../lib/errors.ts'
import { createMemoryLimiter } from '../../lib/http/limit/memory.ts'
import { createRedisLimiter } from '../../lib/http/limit/redis.ts'
import { openDatabase } from '../../lib/libsql/client.ts'
import { databaseFiles } from '../../local/database-files.ts'
import { databaseFaults } from '../../local/database-marks.ts'
import { compareClock, type Finding, failed, ok } from './finding.ts'

const timeoutMs = 5000

const describeError = (error: unknown) => errorCode(error) ?? (error as Error).name

/** The database files: what was lost, if anything. */
export async function checkDatabaseFiles(config: Config): Promise<Finding[]> {
  const check = 'databases'
  const advice =
    'Bring the missing files back, or restore a backup: iotflow restore FILE. To go on with what is there: iotflow doctor --accept-data.'
  try {
    const faults = await databaseFaults(config)
    if (faults.length > 0) return faults.map((fault) => failed(check, fault, advice))
    return databaseFiles(config).length === 0 ? [] : [ok(check, 'are those of the last run')]
  } catch (error) {
    return [failed(check, (error as Error).message.replace(/\.$/, ''), advice)]
  }
}

/** A libSQL server answers, and has the same time. */
export async function checkServer({ database }: Config): Promise<Finding[]> {
  if (database.url.startsWith('file:')) return []
  const check = 'DATABASE_URL'
  try {
    const client = await openDatabase(database)
    const before = Date.now()
    const { rows } = await client.execute("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS now")
    const askedAt = (before + Date.now()) / 2
    client.close()
    return [ok(check, 'answers'), compareClock(check, Number(rows[0]?.now), askedAt, 1)]
  } catch (error) {
    const advice =
      'Start the libSQL server, and compare DATABASE_URL and DATABASE_AUTH_TOKEN with its settings.'
    return [failed(check, `cannot be used (${describeError(error)})`, advice)]
  }
}

export async function checkInflux({ influx }: Config): Promise<Finding[]> {
  if (influx === undefined) return []
  const check = 'INFLUXDB_URL'
  try {
    const before = Date.now()
    const path = `/api/v2/buckets?name=${encodeURIComponent(influx.bucket)}`
    const response = await fetch(`${influx.url}${path}`, {
      headers: { Authorization: `Token ${influx.token}` },
      signal: AbortSignal.timeout(timeoutMs),
    })
    const askedAt = (before + Date.now()) / 2
    if (response.status === 401)
      return [failed(check, 'refuses INFLUXDB_TOKEN', 'Make a token that may read and write the bucket.')]
    const date = response.headers.get('date')
    return [
      ok(check, `answers ${response.status}`),
      ...(date === null ? [] : [compareClock(check, Date.parse(date), askedAt, 1000)]),
    ]
  } catch (error) {
    const advice = 'Start InfluxDB, or correct INFLUXDB_URL. Readings wait in the spool meanwhile.'
    return [failed(check, `does not answer (${describeError(error)})`, advice)]
  }
}

export async function checkRedis({ redisUrl }: Config): Promise<Finding[]> {
  if (redisUrl === undefined) return []
  const limiter = createRedisLimiter({ url: redisUrl, prefix: 'iotflow', fallback: createMemoryLimiter() })
  try {
    await limiter.check()
    return [ok('REDIS_URL', 'answers')]
  } catch (error) {
    const advice = 'Start Redis, or unset REDIS_URL to count requests in memory.'
    return [failed('REDIS_URL', `does not answer (${describeError(error)})`, advice)]
  } finally {
    await limiter.close()
  }
}

const defaultPorts: Readonly<Record<string, number>> = {
  'mqtt:': 1883,
  'mqtts:': 8883,
  'ws:': 80,
  'wss:': 443,
}

/** A broker of MQTT_URL takes connections. */
export async function checkBroker({ mqtt }: Config): Promise<Finding[]> {
  if (typeof mqtt !== 'object') return []
  const { hostname, port, protocol } = new URL(mqtt.url)
  const error = await new Promise<unknown>((resolve) => {
    const socket = connect({ host: hostname, port: Number(port) || (defaultPorts[protocol] ?? 1883) })
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error('timeout')))
    socket.once('connect', () => {
      socket.destroy()
      resolve(undefined)
    })
    socket.once('error', resolve)
  })
  if (error === undefined) return [ok('MQTT_URL', 'takes connections')]
  const advice = 'Start the broker, or correct MQTT_URL.'
  return [failed('MQTT_URL', `does not answer (${describeError(error)})`, advice)]
}
