/** Creates the bucket of the telemetry and sets its retention. */
import { HttpError, type InfluxDB } from '@influxdata/influxdb-client'
import { type Bucket, BucketsAPI, OrgsAPI } from '@influxdata/influxdb-client-apis'
import type { Log } from '../../log.ts'
import { createAgent, createClient, type InfluxConnection, requestTimeouts } from './connection.ts'
import { InfluxFault } from './faults.ts'

const hasStatus = (error: unknown, ...statuses: readonly number[]): boolean =>
  error instanceof HttpError && statuses.includes(error.statusCode)

const findBucket = async (
  buckets: BucketsAPI,
  { org, bucket }: InfluxConnection,
): Promise<Bucket | undefined> => {
  try {
    const found = await buckets.getBuckets({ org, name: bucket })
    return found.buckets?.[0]
  } catch (error) {
    if (hasStatus(error, 404)) return undefined
    throw error
  }
}

const createBucket = async (
  client: InfluxDB,
  { org, bucket }: InfluxConnection,
  everySeconds: number,
): Promise<void> => {
  const { orgs } = await new OrgsAPI(client).getOrgs({ org })
  const retentionRules = [{ type: 'expire' as const, everySeconds }]
  await new BucketsAPI(client).postBuckets({
    body: { orgID: orgs?.[0]?.id ?? '', name: bucket, retentionRules },
  })
}

/** @returns false when the token has no right to change the bucket. */
const changeRetention = async (
  buckets: BucketsAPI,
  bucketID: string,
  everySeconds: number,
): Promise<boolean> => {
  const retentionRules = [{ type: 'expire' as const, everySeconds }]
  try {
    await buckets.patchBucketsID({ bucketID, body: { retentionRules } })
    return true
  } catch (error) {
    if (hasStatus(error, 401, 403)) return false
    throw error
  }
}

/**
 * Creates the bucket if it is missing, otherwise sets its retention. A token without the right to change the retention
 * causes a warning and nothing else.
 * @param retentionMs 0 keeps readings for ever.
 * @throws {InfluxFault}
 */
export async function prepareInflux(at: InfluxConnection, retentionMs: number, log: Log): Promise<void> {
  const agent = createAgent(at.url)
  const client = createClient(at, agent, requestTimeouts.query)
  const everySeconds = Math.round(retentionMs / 1000)
  const facts = { bucket: at.bucket, retention_s: everySeconds }
  try {
    const buckets = new BucketsAPI(client)
    const bucket = await findBucket(buckets, at)
    if (bucket?.id === undefined) {
      await createBucket(client, at, everySeconds)
      log.info('bucket created', facts)
    } else if ((bucket.retentionRules[0]?.everySeconds ?? 0) !== everySeconds) {
      if (await changeRetention(buckets, bucket.id, everySeconds))
        log.info('retention of the bucket changed', facts)
      else log.warn('the token may not change the retention of the bucket', { bucket: at.bucket })
    }
  } catch (error) {
    throw new InfluxFault(error)
  } finally {
    agent.destroy()
  }
}
