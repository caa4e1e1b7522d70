/** The real InfluxDB 2 of INFLUXDB_URL, with one bucket for each suite. */
import { InfluxDB } from '@influxdata/influxdb-client'
import { BucketsAPI } from '@influxdata/influxdb-client-apis'
import { createLog } from '../../lib/log.ts'
import type { InfluxConnection } from '../../lib/telemetry/influx/connection.ts'
import { prepareInflux } from '../../lib/telemetry/influx/provision.ts'
import { describeWith } from './backends.ts'

const { INFLUXDB_URL = '', INFLUXDB_TOKEN = '', INFLUXDB_ORG = 'iotflow' } = process.env

export const influxIsThere = INFLUXDB_URL !== ''

/** The settings of a server that stores its telemetry in this bucket. */
export const influxSettings = { INFLUXDB_URL, INFLUXDB_TOKEN, INFLUXDB_ORG } as const

export const describeWithInflux = (name: string, body: () => void) =>
  describeWith({ influxdb: influxIsThere }, name, body)

const prefix = 'iotflow-test-'
let made = 0

/** Deletes the buckets of old runs only: InfluxDB can crash when a bucket is deleted while it is read. */
const sweep = async (): Promise<void> => {
  const api = new BucketsAPI(new InfluxDB({ url: INFLUXDB_URL, token: INFLUXDB_TOKEN }))
  const { buckets = [] } = await api.getBuckets({ org: INFLUXDB_ORG, limit: 100 })
  for (const { id, name, createdAt } of buckets) {
    const old = Date.now() - Date.parse(createdAt ?? '') > 3_600_000
    if (id && old && name.startsWith(prefix))
      await api.deleteBucketsID({ bucketID: id }).catch(() => undefined)
  }
}

/** Creates an empty bucket without retention. A run that starts an hour later deletes it. */
export async function ownBucket(): Promise<InfluxConnection> {
  if (made === 0) await sweep()
  const bucket = `${prefix}${process.pid}-${Date.now()}-${made++}`
  const at = { url: INFLUXDB_URL, token: INFLUXDB_TOKEN, org: INFLUXDB_ORG, bucket }
  await prepareInflux(at, 0, createLog('silent'))
  return at
}
