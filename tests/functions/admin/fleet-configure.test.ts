import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { maxKeys } from '../../../lib/configuration/configurations.ts'
import * as runtime from '../../../lib/runtime.ts'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { type RecordingBroker, startRecordingBroker } from '../../support/recording-broker.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
let broker: RecordingBroker
beforeAll(async () => {
  broker = await startRecordingBroker()
  functions = await openFunctions({}, broker.iot)
})
beforeEach(() => {
  broker.clear()
  broker.unavailable = false
})
afterAll(async () => {
  await functions.close()
  await broker.close()
})

const put = (body: unknown, options: CallOptions = { admin: true }) =>
  functions.call('admin-fleet-configure', 'PUT', '/api/v1/admin/fleet/config', { ...options, body })
const progress = async (id: number) => {
  const path = `/api/v1/admin/fleet/config/${id}`
  return (await functions.call('admin-fleet-configuration', 'GET', path, { admin: true })).json
}
const continueLater = () => functions.invoke('mqtt-publish-configurations', { source: 'aws.events' })
const configOf = async (id: number) => {
  const path = `/api/v1/admin/devices/${id}/config`
  return (await functions.call('admin-configuration', 'GET', path, { admin: true })).json
}
const configure = (id: number, configuration: object) =>
  functions.call('admin-configure', 'PUT', `/api/v1/admin/devices/${id}/config`, {
    admin: true,
    body: { configuration },
  })
const register = async (count: number, fields: object) => {
  const ids: number[] = []
  for (let n = 0; n < count; n += 1) ids.push((await functions.register({ ...fields })).id)
  return ids
}
const payloadsOf = (id: number) =>
  broker.published
    .filter(({ topic }) => topic === `iotflow/devices/${id}/config`)
    .map(({ payload }) => payload)

describe('a change of many configurations', () => {
  itIsForAdminsOnly(
    () => functions,
    (options) => put({ filter: { ids: [999_999] }, configuration: { a: 1 } }, options),
    202,
  )

  it('gives every device that fits the whole filter a new version, published retained', async () => {
    const [plain = 0, configured = 0] = await register(2, { device_type: 'climate', location: 'north' })
    const others = [
      ...(await register(1, { device_type: 'climate', location: 'south' })),
      ...(await register(1, { device_type: 'camera', location: 'north' })),
    ]
    await configure(configured, { interval: 5, led: 'on', limits: { low: 1, high: null } })
    broker.clear()
    const filter = { device_type: 'climate', location: 'north' }
    const answer = await put({
      filter,
      configuration: { interval: 60, led: null, 'a.b:c': { deep: [1, null] }, text: 'ü"' },
    })
    expect(answer.status).toBe(202)
    expect(answer.json).toMatchObject({
      status: 'success',
      filter,
      keys: ['interval', 'led', 'a.b:c', 'text'],
      state: 'done',
      targets: 2,
      waiting: 0,
      refused: 0,
      applied: 2,
      published: 2,
      in_sync: 0,
    })
    expect(await configOf(configured)).toMatchObject({
      version: 2,
      configuration: {
        interval: { value: 60, data_type: 'integer' },
        limits: { value: { low: 1, high: null }, data_type: 'json' },
        'a.b:c': { value: { deep: [1, null] }, data_type: 'json' },
        text: { value: 'ü"', data_type: 'string' },
      },
    })
    expect((await configOf(configured)).configuration).not.toHaveProperty('led')
    expect(Object.keys((await configOf(plain)).configuration).sort()).toEqual(['a.b:c', 'interval', 'text'])
    expect(broker.published.every(({ retain }) => retain)).toBe(true)
    expect(payloadsOf(plain)).toHaveLength(1)
    expect(JSON.parse(payloadsOf(plain)[0] ?? '')).toEqual({
      version: 1,
      configuration: { interval: 60, 'a.b:c': { deep: [1, null] }, text: 'ü"' },
    })
    for (const id of others) expect((await configOf(id)).version).toBe(0)
    const events = await functions.call('admin-events', 'GET', `/api/v1/admin/devices/${plain}/events`, {
      admin: true,
    })
    expect(events.json.events[0]).toMatchObject({
      event: 'configuration',
      detail: {
        by: 'admin',
        version: 1,
        keys: ['interval', 'led', 'a.b:c', 'text'],
        fleet_configuration: answer.json.fleet_configuration_id,
      },
    })
    await functions.invoke('mqtt-report-configuration', {
      payload: Buffer.from('{"version":1}').toString('base64'),
      topic: `iotflow/devices/${plain}/config/reported`,
      client_id: String(plain),
      received_at: Date.now(),
    })
    expect(await progress(answer.json.fleet_configuration_id)).toMatchObject({ in_sync: 1 })
  })

  it('concerns the devices that a selector means', async () => {
    const [north = 0] = await register(1, { labels: { site: 'north', floor: '1' } })
    const [other = 0] = await register(1, { labels: { site: 'north', floor: '2' } })
    const filter = { selector: 'site=north,floor notin (2)' }
    const { json } = await put({ filter, configuration: { a: 1 } })
    expect(json).toMatchObject({ filter, targets: 1, applied: 1 })
    expect([(await configOf(north)).version, (await configOf(other)).version]).toEqual([1, 0])
  })

  it('is published later while the broker is away', async () => {
    const [id = 0] = await register(1, { device_type: 'away' })
    broker.unavailable = true
    const answer = await put({ filter: { device_type: 'away' }, configuration: { a: 1 } })
    expect(answer.json).toMatchObject({ state: 'publishing', applied: 1, published: 0 })
    broker.unavailable = false
    await continueLater()
    expect(payloadsOf(id)).toEqual(['{"version":1,"configuration":{"a":1}}'])
    const after = await progress(answer.json.fleet_configuration_id)
    expect(after).toMatchObject({ state: 'done', published: 1 })
    await continueLater()
    expect(payloadsOf(id)).toHaveLength(1)
  })

  it('also brings a change of one device to a broker that was away', async () => {
    const [id = 0] = await register(1, {})
    broker.unavailable = true
    expect((await configure(id, { a: 1 })).json.published).toBe(false)
    broker.unavailable = false
    await continueLater()
    expect(payloadsOf(id)).toEqual(['{"version":1,"configuration":{"a":1}}'])
  })

  it('leaves a device alone whose configuration would become too large, and tells how many', async () => {
    const [full = 0, large = 0, free = 0] = await register(3, { device_type: 'limited' })
    const keys = Object.fromEntries(Array.from({ length: maxKeys }, (_, n) => [`key${n}`, n]))
    await configure(full, keys)
    await configure(large, { text: 'x'.repeat(130_000) })
    const body = { filter: { device_type: 'limited' }, configuration: { more: 'y'.repeat(2000) } }
    const { json } = await put(body)
    expect(json).toMatchObject({ targets: 3, refused: 2, applied: 1, state: 'done' })
    expect((await configOf(full)).version).toBe(1)
    expect((await configOf(large)).version).toBe(1)
    expect((await configOf(free)).version).toBe(1)
    const exchange = await put({
      filter: { ids: [full] },
      configuration: { ...Object.fromEntries(Object.keys(keys).map((key) => [key, null])), only: 1 },
    })
    expect(exchange.json).toMatchObject({ applied: 1 })
    expect(Object.keys((await configOf(full)).configuration)).toEqual(['only'])
  })

  it('loses nothing to changes of single devices at the same time', async () => {
    const ids = await register(5, { device_type: 'busy' })
    await Promise.all([
      ...ids.flatMap((id) => [configure(id, { one: 1 }), configure(id, { two: 2 })]),
      put({ filter: { device_type: 'busy' }, configuration: { fleet: 1 } }),
      put({ filter: { device_type: 'busy' }, configuration: { other: 1 } }),
    ])
    await continueLater()
    for (const id of ids) {
      const { version, configuration } = await configOf(id)
      expect([version, Object.keys(configuration).sort()]).toEqual([4, ['fleet', 'one', 'other', 'two']])
      expect(JSON.parse(payloadsOf(id).at(-1) ?? '')).toMatchObject({ version: 4 })
    }
  })

  it('concerns devices in slices, and goes on where another process has ended', async () => {
    const { db } = await runtime.registry()
    await db.run(sql`insert into devices (name, device_type, created_at, updated_at)
      with recursive n(i) as (select 1 union all select i + 1 from n where i < 600)
      select 'many ' || i, 'many', 0, 0 from n`)
    broker.unavailable = true
    const { json } = await put({ filter: { device_type: 'many' }, configuration: { a: 1 } })
    expect(json).toMatchObject({ targets: 600, applied: 600, waiting: 0, state: 'publishing' })
    // As if a process had ended between two slices.
    const id = json.fleet_configuration_id
    await db.run(sql`update fleet_configurations set applied_at = null where id = ${id}`)
    await db.run(sql`delete from configurations where device_id in (
      select device_id from fleet_configuration_targets where fleet_configuration_id = ${id}
      order by device_id desc limit 100)`)
    await db.run(sql`update fleet_configuration_targets set version = null where fleet_configuration_id = ${id}
      and device_id not in (select device_id from configurations)`)
    expect(await progress(id)).toMatchObject({ waiting: 100, state: 'applying' })
    await db.run(
      sql`update fleet_configuration_targets set version = null where fleet_configuration_id = ${id}`,
    )
    const none = { waiting: 600, refused: 0, applied: 0, published: 0, in_sync: 0 }
    expect(await progress(id)).toMatchObject(none)
    await db.run(sql`update fleet_configuration_targets set version = 1 where fleet_configuration_id = ${id}
      and device_id in (select device_id from configurations)`)
    await continueLater()
    expect(await progress(id)).toMatchObject({ waiting: 0, applied: 600 })
    const [versions] = await db.all<{ least: number; most: number }>(sql`select min(version) as least,
      max(version) as most from configurations where device_id in (select id from devices where device_type = 'many')`)
    expect(versions).toEqual({ least: 1, most: 1 })
    await db.run(
      sql`delete from configurations where device_id in (select id from devices where device_type = 'many')`,
    )
  })

  it('forgets a device that is deleted', async () => {
    const [id = 0] = await register(1, { device_type: 'deleted' })
    const { json } = await put({ filter: { device_type: 'deleted' }, configuration: { a: 1 } })
    await functions.call('admin-delete', 'DELETE', `/api/v1/admin/devices/${id}`, { admin: true })
    expect(await progress(json.fleet_configuration_id)).toMatchObject({
      targets: 1,
      applied: 0,
      state: 'done',
    })
  })

  it.each([
    [{ configuration: { a: 1 } }, 'filter'],
    [{ filter: {} }, 'configuration'],
    [{ filter: { devicetype: 'climate' }, configuration: { a: 1 } }, 'filter.devicetype'],
    [{ filter: { selector: '' }, configuration: { a: 1 } }, 'filter.selector'],
    [{ filter: { ids: [] }, configuration: { a: 1 } }, 'filter.ids'],
    [{ filter: { ids: ['7'] }, configuration: { a: 1 } }, 'filter.ids.0'],
    [{ filter: {}, configuration: { 'a b': 1 } }, 'configuration.a b'],
  ])('answers 422 for %j', async (body, path) => {
    const answer = await put(body)
    expect([answer.status, answer.json.error.details[0].path]).toEqual([422, path])
  })
})
