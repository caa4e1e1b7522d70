/** A large deletion is exact although the server is killed in the middle of it, and the command line waits for its end. */
import { join } from 'node:path'
import { afterEach, expect, it, vi } from 'vitest'
import { createLog } from '../../lib/log.ts'
import { openEmbedded } from '../../lib/telemetry/embedded/open.ts'
import { runIotflow } from '../support/iotflow.ts'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { writeEntry } from '../support/write-entry.ts'

const endings: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})

const readings = 100_000
const from = BigInt(Date.parse('2026-03-01')) * 1_000_000n
const adminToken = 'admin-token-of-the-tests-0123456789'
const asAdmin = (server: StandaloneServer, method: string, path: string, body?: object) =>
  server.request(method, path, {
    headers: { Authorization: `Bearer ${adminToken}` },
    ...(body === undefined ? {} : { body }),
  })
const patience = { timeout: 120_000, interval: 50 }

/** Starts a server on the folder; telemetry is kept for ever, because the readings are of a fixed day. */
const start = async (dataDir: string): Promise<StandaloneServer> => {
  const server = await startStandaloneServer({
    settings: {
      DATA_DIR: dataDir,
      ADMIN_TOKEN: adminToken,
      RETENTION_DAYS: '0',
      LOG_LEVEL: 'error',
      RATE_LIMIT_IP_PER_MINUTE: '0',
    },
  })
  endings.push(() => server.stop().catch(() => undefined))
  return server
}

const fill = async (dataDir: string, deviceId: number) => {
  const embedded = await openEmbedded({
    at: { file: join(dataDir, 'telemetry.db') },
    log: createLog('silent'),
    retentionMs: 0,
  })
  for (let at = 0; at < readings; at += 5000)
    await writeEntry(embedded.store, {
      deviceId,
      deviceType: 'sensor',
      location: null,
      receivedAt: Date.now(),
      readings: Array.from({ length: 5000 }, (_, n) => ({
        time: from + BigInt(at + n) * 1_000_000n,
        fields: { temperature: n % 100 },
        metadata: undefined,
      })),
    })
  await embedded.close()
}

it('goes on where a killed server was, and counts every reading once', async () => {
  const folder = await temporaryFolder()
  endings.push(() => folder.remove())
  let server = await start(folder.path)
  const device = await server.register('large')
  const other = await server.register('other')
  await server.stop()
  await fill(folder.path, device.id)
  await fill(folder.path, other.id)

  server = await start(folder.path)
  const day = { start_time: '2026-03-01T00:00:00Z', stop_time: '2026-03-02T00:00:00Z' }
  const answer = asAdmin(server, 'DELETE', `/api/v1/telemetry/${device.id}`, day).catch(() => 'killed')
  const list = async () => (await asAdmin(server, 'GET', '/api/v1/admin/deletions')).body.deletions
  await vi.waitFor(async () => expect((await list())[0]?.deleted).toBeGreaterThan(0), patience)
  server.kill('SIGKILL')
  await server.ended
  expect(await answer).toBe('killed')

  server = await start(folder.path)
  const [{ deletion_id: id, deleted, state }] = await list()
  expect([state, deleted > 0, deleted < readings, deleted % 5000]).toEqual(['running', true, true, 0])
  await vi.waitFor(async () => expect((await list())[0].state).toBe('finished'), patience)
  const { body } = await asAdmin(server, 'GET', `/api/v1/admin/deletions/${id}`)
  expect(body.deletion).toMatchObject({ device_id: device.id, deleted: readings, progress: 1 })
  const latest = async (of: number) => (await asAdmin(server, 'GET', `/api/v1/telemetry/${of}/latest`)).status
  expect([await latest(device.id), await latest(other.id)]).toEqual([404, 200])

  const gone = await runIotflow(['device', 'delete', 'other', '--telemetry', '--yes', '--json'], {
    dataDir: folder.path,
    settings: { ADMIN_TOKEN: adminToken },
  })
  expect(gone.code, gone.err).toBe(0)
  expect(JSON.parse(gone.out)).toMatchObject({
    telemetry_deleted: true,
    deletion: { state: 'finished', deleted: readings },
  })
}, 300_000)
