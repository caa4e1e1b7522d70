import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { keptOfKind } from '../../../lib/registry/bounded-events.ts'
import * as runtime from '../../../lib/runtime.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { ruleEvent } from '../../support/rule-events.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(noon)
  functions = await openFunctions()
})
afterAll(async () => {
  await functions.close()
  vi.useRealTimers()
})

const report = (deviceId: number, payload: unknown, at = noon) =>
  functions.invoke('mqtt-report-configuration', ruleEvent(deviceId, 'config/reported', payload, at))

/** Registers a device whose desired configuration has this version. */
const withVersion = async (version: number): Promise<number> => {
  const { id } = await functions.register()
  for (let n = 1; n <= version; n += 1)
    await functions.call('admin-configure', 'PUT', `/api/v1/admin/devices/${id}/config`, {
      admin: true,
      body: { configuration: { n } },
    })
  return id
}

const reported = async (id: number) => {
  const { json } = await functions.call('admin-configuration', 'GET', `/api/v1/admin/devices/${id}/config`, {
    admin: true,
  })
  return [json.reported_version, json.reported_at]
}

const newestEvent = async (id: number) =>
  (await functions.call('admin-events', 'GET', `/api/v1/admin/devices/${id}/events?limit=1`, { admin: true }))
    .json.events[0]

describe('the configuration version that a device reports', () => {
  it('is noted with its time of arrival, and in the events', async () => {
    const id = await withVersion(2)
    await report(id, { version: 2 }, noon + 250)
    expect(await reported(id)).toEqual([2, '2026-03-01T12:00:00.250Z'])
    expect(await newestEvent(id)).toEqual({
      event: 'configuration_reported',
      type: 'device.configuration_reported',
      timestamp: '2026-03-01T12:00:00.250Z',
      detail: { version: 2 },
    })
  })

  it('may be older than the desired one, and lower than the one before', async () => {
    const id = await withVersion(3)
    await report(id, { version: 2 }, noon)
    await report(id, { version: 0 }, noon + 1000)
    expect(await reported(id)).toEqual([0, '2026-03-01T12:00:01Z'])
  })

  it('fills no table, however often it is reported', async () => {
    const id = await withVersion(1)
    for (let n = 0; n < keptOfKind + 3; n += 1) await report(id, { version: n % 2 }, noon + n)
    const { db } = await runtime.registry()
    const [found] = await db.all<{ count: number; newest: number }>(
      sql`select count(*) as count, max(at) as newest from events
        where device_id = ${id} and kind = 'configuration_reported'`,
    )
    expect(found).toEqual({ count: keptOfKind, newest: noon + keptOfKind + 2 })
  })

  it('does not replace one that arrived later', async () => {
    const id = await withVersion(2)
    await report(id, { version: 2 }, noon + 1000)
    await report(id, { version: 1 }, noon)
    expect(await reported(id)).toEqual([2, '2026-03-01T12:00:01Z'])
  })

  it('is left out when there has never been such a version', async () => {
    const id = await withVersion(1)
    await report(id, { version: 2 })
    expect([await reported(id), (await newestEvent(id)).event]).toEqual([[null, null], 'configuration'])
  })

  it.each<[string, unknown]>([
    ['no JSON', '{"version":'],
    ['nothing', ''],
    ['no version', {}],
    ['a version that is a string', { version: '1' }],
    ['a negative version', { version: -1 }],
    ['a version with a fraction', { version: 0.5 }],
    ['a list', [1]],
    ['null', 'null'],
  ])('is left out, without a failure, when the message is or has %s', async (_what, payload) => {
    const id = await withVersion(1)
    await report(id, payload)
    expect(await reported(id)).toEqual([null, null])
  })

  it('is left out, without a failure, for an unknown device and for another topic', async () => {
    await report(999_999, { version: 1 })
    const id = await withVersion(1)
    for (const topic of ['config', 'telemetry', 'commands/response'])
      await functions.invoke('mqtt-report-configuration', ruleEvent(id, topic, { version: 1 }))
    expect(await reported(id)).toEqual([null, null])
  })
})
