/** The store on a real InfluxDB 2, wherever INFLUXDB_URL says one is. */
import { describe } from 'vitest'
import { createLog } from '../../../lib/log.ts'
import { openInfluxStore, prepareInflux } from '../../../lib/telemetry/influx.ts'
import { telemetryStoreContract } from '../../support/telemetry-store-contract.ts'

const { INFLUXDB_URL: url, INFLUXDB_TOKEN: token = '', INFLUXDB_ORG: org = 'iotflow' } = process.env
const log = createLog('silent')

describe.skipIf(url === undefined)('on a real InfluxDB', () => {
  const at = { url: url ?? '', token, org, bucket: `test-${process.pid}-${Date.now()}` }
  telemetryStoreContract('influxdb', async () => {
    await prepareInflux(at, 0, log)
    const store = openInfluxStore({ at, log })
    return { store, end: () => store.close() }
  })
})
