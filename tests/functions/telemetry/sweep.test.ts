import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { sweepTelemetry } from '../../../functions/telemetry/sweep.ts'
import { createLog } from '../../../lib/log.ts'
import * as runtime from '../../../lib/runtime.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { writeManyReadings } from '../../support/many-readings.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')
let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(noon)
  functions = await openFunctions()
})
afterAll(async () => {
  vi.useRealTimers()
  await functions.close()
})

const sweep = () => functions.invoke('telemetry-sweep', { source: 'aws.events' })
const admin = (name: string, method: string, path: string, headers = {}) =>
  functions.call(name, method, path, { admin: true, headers })
const soon = { Prefer: 'respond-async' }
const range = 'start_time=2026-03-01T00:00:00Z&stop_time=2026-03-02T00:00:00Z'

it('goes on with a range that is more than one request deletes', async () => {
  const { id } = await functions.register()
  const count = await writeManyReadings(id)
  const deleting = await admin('telemetry-remove', 'DELETE', `/api/v1/telemetry/${id}?${range}`, soon)
  expect(deleting.status).toBe(202)
  expect(deleting.headers.get('preference-applied')).toBe('respond-async')
  expect(deleting.json).toEqual({
    message: 'Telemetry is being deleted',
    device_id: id,
    start_time: '2026-03-01T00:00:00Z',
    stop_time: '2026-03-02T00:00:00Z',
    status: 'deleting',
    deletion_id: expect.any(Number),
  })
  const path = `/api/v1/admin/deletions/${deleting.json.deletion_id}`
  const before = (await admin('admin-show-deletion', 'GET', path)).json.deletion
  expect(before).toMatchObject({ state: 'running', deleted: 0, progress: 0, finished_at: null })
  // Asked again, it is the same deletion.
  const again = await admin('telemetry-remove', 'DELETE', `/api/v1/telemetry/${id}?${range}`, soon)
  expect(again.json.deletion_id).toBe(before.deletion_id)
  expect(await sweep()).toBe(1)
  expect((await admin('admin-show-deletion', 'GET', path)).json).toEqual({
    status: 'success',
    deletion: {
      deletion_id: before.deletion_id,
      device_id: id,
      start_time: '2026-03-01T00:00:00Z',
      stop_time: '2026-03-02T00:00:00Z',
      state: 'finished',
      deleted: count,
      progress: 1,
      requested_at: '2026-03-01T12:00:00Z',
      finished_at: '2026-03-01T12:00:00Z',
    },
  })
  expect(await (await runtime.telemetry()).count(id)).toBe(0)
  expect(await sweep()).toBe(0)
})

it('waits for what can be deleted while a request may wait, and answers 200 then', async () => {
  const { id } = await functions.register()
  await writeManyReadings(id)
  const deleted = await admin('telemetry-remove', 'DELETE', `/api/v1/telemetry/${id}?${range}`)
  expect([200, 202]).toContain(deleted.status)
  expect('deletion_id' in deleted.json).toBe(deleted.status === 202)
  await sweep()
  expect(await (await runtime.telemetry()).count(id)).toBe(0)
})

it('deletes the telemetry of a deleted device, which nobody sees any more, also what comes late', async () => {
  vi.setSystemTime(noon)
  const { id, name } = await functions.register({ device_type: 'large' })
  const count = await writeManyReadings(id)
  const deleted = await admin('admin-delete', 'DELETE', `/api/v1/admin/devices/${id}?telemetry=true`, soon)
  expect(deleted.status).toBe(202)
  expect(deleted.json).toMatchObject({ device_name: name, telemetry_deleted: false })
  expect((await admin('telemetry-latest', 'GET', `/api/v1/telemetry/${id}/latest`)).status).toBe(404)
  const listed = await admin('admin-list', 'GET', '/api/v1/admin/devices?deleted=true&device_type=large')
  expect(listed.json.devices).toEqual([])
  expect(await sweep()).toBe(0)
  await writeManyReadings(id, 1)
  vi.setSystemTime(noon + 15_000)
  expect(await sweep()).toBe(1)
  const path = `/api/v1/admin/deletions/${deleted.json.deletion_id}`
  expect((await admin('admin-show-deletion', 'GET', path)).json.deletion).toMatchObject({
    state: 'finished',
    start_time: null,
    deleted: count + 1,
  })
  expect(await (await runtime.telemetry()).count(id)).toBe(0)
})

it('forgets a deleted device when a large deletion has taken the last of its readings', async () => {
  const { id } = await functions.register({ device_type: 'left behind' })
  await writeManyReadings(id)
  await admin('admin-delete', 'DELETE', `/api/v1/admin/devices/${id}`)
  expect((await admin('telemetry-remove', 'DELETE', `/api/v1/telemetry/${id}?${range}`, soon)).status).toBe(
    202,
  )
  const devices = await runtime.devices()
  expect(await devices.findDeleted(id)).toBeDefined()
  expect(await sweep()).toBe(1)
  expect(await devices.findDeleted(id)).toBeUndefined()
})

it('leaves the work to the process that has it, and empties the spool where there is one', async () => {
  let held = true
  const untils: number[] = []
  const run = sweepTelemetry({
    log: createLog('silent'),
    leases: { take: async () => !held, release: async () => {} },
    devices: await runtime.devices(),
    telemetry: await runtime.telemetry(),
    deletions: { run: async () => [] },
    spool: { emptySpool: async (until) => void untils.push(until) },
  })
  expect(await run()).toBeUndefined()
  held = false
  expect(await run()).toBe(0)
  expect(untils).toHaveLength(1)
})
