import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createLog } from '../../lib/log.ts'
import { openEmbedded } from '../../lib/telemetry/embedded/open.ts'
import { openInfluxStore } from '../../lib/telemetry/influx/store.ts'
import { describeWithInflux, influxSettings, ownBucket } from '../support/influxdb.ts'
import { runIotflow } from '../support/iotflow.ts'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'

const log = createLog('silent')

describeWithInflux('iotflow telemetry copy', () => {
  let server: StandaloneServer
  let folder: Awaited<ReturnType<typeof temporaryFolder>>
  beforeAll(async () => {
    server = await startStandaloneServer()
    folder = await temporaryFolder()
  })
  afterAll(async () => {
    await server?.stop()
    await folder?.remove()
  })

  it('copies the devices of --device while the server runs, and back into another data directory', async () => {
    const [one, two] = [await server.register('one'), await server.register('two')]
    for (const { key } of [one, two])
      await server.request('POST', '/api/v1/telemetry', { key, body: { temperature: 21.5 } })
    const at = await ownBucket()
    const settings = { ...influxSettings, INFLUXDB_BUCKET: at.bucket }
    const copy = (dataDir: string, ...args: string[]) =>
      runIotflow(['telemetry', 'copy', ...args], { dataDir, settings })

    const there = ['--from', 'embedded', '--to', 'influxdb', '--device', String(two.id)]
    expect(await copy(server.dataDir, ...there)).toMatchObject({ code: 0 })
    const influx = openInfluxStore({ connection: at, log })
    expect(await influx.devices()).toEqual([two.id])
    await influx.close()

    const other = join(folder.path, 'other')
    const back = ['--from', 'influxdb', '--to', 'embedded', '--data-dir', other]
    expect(await copy(server.dataDir, ...back)).toMatchObject({ code: 0 })
    const file = join(other, 'telemetry.db')
    const { store, close } = await openEmbedded({ at: { file }, log, retentionMs: 0, readOnly: true })
    const [reading] = await store.scan({ deviceId: two.id, from: 0n, to: 2n ** 63n - 2n, limit: 10 })
    expect([await store.devices(), reading?.fields]).toEqual([[two.id], { temperature: 21.5 }])
    await close()
  })
})
