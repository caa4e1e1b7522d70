/** Finds the databases of the settings and brings them up to date: a step of every start and of every deployment. */
import type { Config } from '../lib/config.ts'
import { createMemoryLimiter } from '../lib/http/limit/memory.ts'
import { createRedisLimiter } from '../lib/http/limit/redis.ts'
import type { Log } from '../lib/log.ts'
import { openRegistry } from '../lib/registry/db.ts'
import { prepareServer } from '../lib/telemetry/embedded/writer.ts'
import { InfluxFault } from '../lib/telemetry/influx/faults.ts'
import { prepareInflux } from '../lib/telemetry/influx/provision.ts'
import { describeFailure } from './describe-failure.ts'

const checkRedis = (url: string) =>
  describeFailure(
    'The Redis of REDIS_URL does not answer: start it, or unset REDIS_URL to count requests in memory',
    async () => {
      const limiter = createRedisLimiter({ url, prefix: 'iotflow', fallback: createMemoryLimiter() })
      await limiter.check().finally(() => limiter.close())
    },
  )

/** Pause before InfluxDB is tried again while it is unavailable, ms. */
const retryMs = 10_000

const influxFaults: Record<string, string> = {
  HTTP_401: 'InfluxDB refuses INFLUXDB_TOKEN, or it may not see or make the bucket of INFLUXDB_BUCKET',
  HTTP_403: 'INFLUXDB_TOKEN may not see or make the bucket of INFLUXDB_BUCKET',
  HTTP_404: 'InfluxDB has no organization of the name in INFLUXDB_ORG, or INFLUXDB_TOKEN may not see it',
}

/** Makes the bucket of InfluxDB, or sets its retention. @throws {Error} one sentence. */
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

/** False when InfluxDB refuses the settings: another try would be refused too. */
const isTemporary = (error: unknown) => {
  const fault = (error as Error).cause
  return !(fault instanceof InfluxFault && fault.code in influxFaults)
}

/**
 * Migrates the registry, and makes the tables or the bucket for telemetry.
 * @throws {Error} one sentence when one of them cannot be used.
 */
export async function prepareDatabases(config: Config, log: Log): Promise<void> {
  const { database, influx, retentionDays } = config
  const isFile = database.url.startsWith('file:')
  await describeFailure(
    `The registry ${isFile ? database.url : 'of DATABASE_URL'} cannot be used`,
    async () => {
      const registry = await openRegistry(database)
      try {
        await registry.migrate()
      } finally {
        registry.close()
      }
      if (!isFile) await prepareServer(database.url, database.authToken)
    },
  )
  if (influx) await prepareBucket(influx, retentionDays * 86_400_000, log)
}

/**
 * The same for a start, which does not wait for an unavailable InfluxDB: the bucket is made as soon as it answers.
 * @returns a function that ends the tries.
 * @throws {Error} one sentence when the registry or Redis cannot be used, or InfluxDB refuses the settings.
 */
export async function prepareForStart(config: Config, log: Log): Promise<() => void> {
  const { influx, redisUrl, retentionDays } = config
  if (redisUrl !== undefined) await checkRedis(redisUrl)
  await prepareDatabases({ ...config, influx: undefined }, log)
  if (influx === undefined) return () => {}
  const prepare = () => prepareBucket(influx, retentionDays * 86_400_000, log)
  let timer: NodeJS.Timeout | undefined
  const retryLater = (error: unknown) => {
    log.warn('InfluxDB is unavailable and will be tried again', { error })
    timer = setTimeout(() => void prepare().catch(retryLater), retryMs)
  }
  await prepare().catch((error: unknown) => {
    if (!isTemporary(error)) throw error
    retryLater(error)
  })
  return () => clearTimeout(timer)
}
