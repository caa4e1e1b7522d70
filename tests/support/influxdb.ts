/** The real InfluxDB 2 that INFLUXDB_URL names, with a bucket of its own for each suite. */
import { InfluxDB } from '@influxdata/influxdb-client'
import { BucketsAPI } from '@influxdata/influxdb-client-apis'
import { createLog } from '../../lib/log.ts'
import { type InfluxConnection, prepareInflux } from '../../lib/telemetry/influx.ts'
import { describeWith } from './backends.ts'

const { INFLUXDB_URL = '', INFLUXDB_TOKEN = '', INFLUXDB_ORG = 'iotflow' } = process.env

export const influxIsThere = INFLUXDB_URL !== ''

/** The settings of a layer that keeps its telemetry there. */
export const influxSettings = { INFLUXDB_URL, INFLUXDB_TOKEN, INFLUXDB_ORG } as const

export const describeWithInflux = (name: string, body: () => void) =>
  describeWith({ influxdb: influxIsThere }, name, body)

let buckets = 0

/** A bucket that keeps for ever, gone when it is removed. */
export async function ownBucket(): Promise<{ at: InfluxConnection; remove(): Promise<void> }> {
  const bucket = `test-${process.pid}-${Date.now()}-${buckets++}`
  const at = { url: INFLUXDB_URL, token: INFLUXDB_TOKEN, org: INFLUXDB_ORG, bucket }
  await prepareInflux(at, 0, createLog('silent'))
  return {
    at,
    async remove() {
      const api = new BucketsAPI(new InfluxDB({ url: at.url, token: at.token }))
      const { buckets: found } = await api.getBuckets({ org: at.org, name: bucket })
      for (const { id } of found ?? []) if (id) await api.deleteBucketsID({ bucketID: id })
    },
  }
}
