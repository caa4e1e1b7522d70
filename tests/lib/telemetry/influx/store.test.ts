/** The store on a real InfluxDB 2, wherever INFLUXDB_URL says one is. */
import { createLog } from '../../../../lib/log.ts'
import { openInfluxStore } from '../../../../lib/telemetry/influx/store.ts'
import { describeWithInflux, ownBucket } from '../../../support/influxdb.ts'
import { telemetryStoreContract } from '../../../support/telemetry-store-contract.ts'

describeWithInflux('on a real InfluxDB', () => {
  telemetryStoreContract('influxdb', async () => {
    const store = openInfluxStore({ connection: await ownBucket(), log: createLog('silent') })
    return { store, end: () => store.close() }
  })
})
