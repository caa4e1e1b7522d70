/** The embedded store on a libSQL server instead of a file. */
import { createLog } from '../../../lib/log.ts'
import { openEmbeddedStore, prepareServer } from '../../../lib/telemetry/embedded.ts'
import { describeWithSqld, startSqld } from '../../support/sqld.ts'
import { telemetryStoreContract } from '../../support/telemetry-store-contract.ts'

describeWithSqld('on a libSQL server', () => {
  telemetryStoreContract('libsql server', async () => {
    const { url, stop } = await startSqld()
    await prepareServer(url, undefined)
    const store = await openEmbeddedStore({
      at: { url, authToken: undefined },
      log: createLog('silent'),
      retentionMs: 0,
    })
    return {
      store,
      end: async () => {
        await store.close()
        await stop()
      },
    }
  })
})
