/** Databases as the settings name them, found and brought up to date: a step of every start and of every deploy. */
import type { Config } from '../lib/config.ts'
import { createMemoryLimiter } from '../lib/http/limit.ts'
import { createRedisLimiter } from '../lib/http/limit-redis.ts'
import type { Log } from '../lib/log.ts'
import { openRegistry } from '../lib/registry/db.ts'
import { prepareServer } from '../lib/telemetry/embedded.ts'
import { InfluxFault, prepareInflux } from '../lib/telemetry/influx.ts'
import { step } from './step.ts'

const findRedis = (url: string) =>
  step(
    'The Redis of REDIS_URL does not answer: start it, or unset REDIS_URL to count requests in memory',
    async () => {
      const limiter = createRedisLimiter({ url, prefix: 'iotflow', fallback: createMemoryLimiter() })
      await limiter.check().finally(() => limiter.close())
    },
  )

/** How often an InfluxDB that is away is tried again, ms. */
const retryMs = 10_000

const influxFaults: Record<string, string> = {
  HTTP_401: 'InfluxDB refuses INFLUXDB_TOKEN, or it may not see or make the bucket of INFLUXDB_BUCKET',
  HTTP_403: 'INFLUXDB_TOKEN may not see or make the bucket of INFLUXDB_BUCKET',
  HTTP_404: 'InfluxDB has no organization of the name in INFLUXDB_ORG, or INFLUXDB_TOKEN may not see it',
}

/** Makes the bucket, or sets its retention. @throws {Error} one sentence. */
export const prepareBucket = async (influx: NonNullable<Config['influx']>, retentionMs: number, log: Log) => {
  try {
    await prepareInflux(influx, retentionMs, log)
  } catch (error) {
    const code = error instanceof InfluxFault ? error.code : ''
    throw new Error(`${influxFaults[code] ?? 'The InfluxDB of INFLUXDB_URL does not answer'} (${code}).`, {
      cause: error,
    })
  }
}

const mayComeBack = (error: unknown) => {
  const fault = (error as Error).cause
  return !(fault instanceof InfluxFault && fault.code in influxFaults)
}

/**
 * Migrates the registry and makes the place for telemetry.
 * @throws {Error} one sentence when one of them cannot be used.
 */
export async function prepareDatabases(config: Config, log: Log): Promise<void> {
  const { database, influx, retentionDays } = config
  const isFile = database.url.startsWith('file:')
  await step(`The registry ${isFile ? database.url : 'of DATABASE_URL'} cannot be used`, async () => {
    const registry = await openRegistry(database)
    try {
      await registry.migrate()
    } finally {
      registry.close()
    }
    if (!isFile) await prepareServer(database.url, database.authToken)
  })
  if (influx) await prepareBucket(influx, retentionDays * 86_400_000, log)
}

/**
 * The same for a start, which an InfluxDB that is away does not hold up: it is prepared as soon as it answers.
 * @returns what ends the tries.
 * @throws {Error} one sentence when the registry or Redis cannot be used, or InfluxDB refuses the settings.
 */
export async function prepareForStart(config: Config, log: Log): Promise<() => void> {
  const { influx, redisUrl, retentionDays } = config
  if (redisUrl !== undefined) await findRedis(redisUrl)
  await prepareDatabases({ ...config, influx: undefined }, log)
  if (influx === undefined) return () => {}
  const prepare = () => prepareBucket(influx, retentionDays * 86_400_000, log)
  let timer: NodeJS.Timeout | undefined
  const again = (error: unknown) => {
    log.warn('telemetry cannot be stored yet, InfluxDB is tried again', { error })
    timer = setTimeout(() => void prepare().catch(again), retryMs)
  }
  await prepare().catch((error: unknown) => {
    if (!mayComeBack(error)) throw error
    again(error)
  })
  return () => clearTimeout(timer)
}
