import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { keepRetention } from '../../../functions/system/retention.ts'
import { createLog } from '../../../lib/log.ts'
import * as runtime from '../../../lib/runtime.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { cancelFleet, sent as sentToFleet } from '../commands/fleet-requests.ts'
import { created } from '../commands/requests.ts'

const dayMs = 86_400_000

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(Date.parse('2026-03-01T12:00:00Z'))
  functions = await openFunctions()
})
afterAll(async () => {
  vi.useRealTimers()
  await functions.close()
})

const run = () => functions.invoke('system-retention', { source: 'aws.events' })
const allReady = { alerts: true, commands: true, devices: true, telemetry: true }

it('deletes readings, commands and events that are older than they are kept', async () => {
  const { id, key } = await functions.register()
  await created(functions, id, { command: 'reboot', ttl_s: 1 })
  const path = '/api/v1/devices/telemetry'
  const sent = await functions.call('telemetry-submit', 'POST', path, { key, body: { t: 1 } })
  expect(sent.status).toBe(201)
  await cancelFleet(functions, await sentToFleet(functions, [id]))
  await functions.invoke('commands-fleet-advance', {})
  const devices = await runtime.devices()
  devices.noteRepeated({ deviceId: id, kind: 'warning', key: 'CLOCK_WRONG 2026-03-01', detail: {} })
  await devices.flush()
  vi.setSystemTime(Date.now() + 1000)
  await functions.invoke('commands-sweep', {})
  const { db } = await runtime.registry()
  const left = async () => {
    const [row] = await db.all<{ commands: number; fleets: number; events: number }>(sql`select
      (select count(*) from commands) as commands, (select count(*) from fleet_commands) as fleets, (select count(*) from events where key is not null) as events`)
    return { ...row, readings: await (await runtime.telemetry()).count(id) }
  }
  expect(await run()).toEqual(allReady)
  expect(await left()).toEqual({ commands: 2, fleets: 1, events: 1, readings: 1 })
  vi.setSystemTime(Date.now() + 30 * dayMs + 1)
  expect(await run()).toEqual(allReady)
  expect(await left()).toEqual({ commands: 0, fleets: 0, events: 0, readings: 0 })
})

it('leaves the work to the process that has it, and tells what is not ready', async () => {
  let held = true
  const keep = keepRetention({
    log: createLog('silent'),
    leases: { take: async () => !held, release: async () => {} },
    alerts: { prune: async () => true },
    commands: { prune: async () => false },
    devices: { run: async () => true },
    telemetry: { run: async () => false },
    deletions: { prune: async () => {} },
  })
  expect(await keep()).toBeUndefined()
  held = false
  expect(await keep()).toEqual({ ...allReady, telemetry: false })
})
