import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { type RecordingBroker, startRecordingBroker } from '../../support/recording-broker.ts'
import { itIsForAdminsOnly, itNeedsAKnownDevice } from './refusals.ts'

let functions: TestFunctions
let broker: RecordingBroker
beforeAll(async () => {
  vi.setSystemTime(Date.parse('2026-03-01T12:00:00Z'))
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
  vi.useRealTimers()
})

const configure = (id: number | string, options: CallOptions) =>
  functions.call('admin-configure', 'PUT', `/api/v1/admin/devices/${id}/config`, options)

const set = (id: number | string, configuration: unknown, headers: Record<string, string> = {}) =>
  configure(id, { admin: true, body: { configuration }, headers })

const read = async (id: number) =>
  (await functions.call('admin-configuration', 'GET', `/api/v1/admin/devices/${id}/config`, { admin: true }))
    .json

const updated_at = '2026-03-01T12:00:00Z'

describe('a configuration that the admin sets', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) =>
      configure((await functions.register()).id, { body: { configuration: { a: 1 } }, ...options }),
  )
  itNeedsAKnownDevice((id) => set(id, { a: 1 }))

  it('is answered as a whole, each value with its type', async () => {
    const { id } = await functions.register()
    const answer = await set(id, { interval: 30, offset: 0.5, unit: 'C', alarm: true, range: { min: 1 } })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('etag')).toBe('"1"')
    expect(answer.json).toEqual({
      status: 'success',
      message: 'Configuration updated successfully',
      device_id: id,
      version: 1,
      reported_version: null,
      reported_at: null,
      configuration: {
        interval: { value: 30, data_type: 'integer', updated_at },
        offset: { value: 0.5, data_type: 'float', updated_at },
        unit: { value: 'C', data_type: 'string', updated_at },
        alarm: { value: true, data_type: 'boolean', updated_at },
        range: { value: { min: 1 }, data_type: 'json', updated_at },
      },
      published: true,
    })
  })

  it('is published retained with QoS 1 to the config topic of the device, and nowhere else', async () => {
    const { id } = await functions.register()
    await set(id, { interval: 30, unit: 'C' })
    expect(broker.published).toEqual([
      {
        topic: `iotflow/devices/${id}/config`,
        payload: '{"version":1,"configuration":{"interval":30,"unit":"C"}}',
        qos: 1,
        retain: true,
      },
    ])
  })

  it('changes the named keys, deletes those that are null and keeps the rest', async () => {
    const { id } = await functions.register()
    await set(id, { a: 1, b: 2, c: 3 })
    broker.clear()
    await set(id, { a: null, b: 20 })
    const { version, configuration } = await read(id)
    expect([version, Object.keys(configuration).sort(), configuration.b.value]).toEqual([2, ['b', 'c'], 20])
    expect(JSON.parse(broker.published[0]?.payload ?? '')).toEqual({
      version: 2,
      configuration: { b: 20, c: 3 },
    })
  })

  it('is told in the events with the names of the keys, not with their values', async () => {
    const { id } = await functions.register()
    await set(id, { password: 'secret', interval: 30 })
    const answer = await functions.call('admin-events', 'GET', `/api/v1/admin/devices/${id}/events`, {
      admin: true,
    })
    expect(answer.json.events[0]).toEqual({
      event: 'configuration',
      type: 'device.configuration',
      timestamp: updated_at,
      detail: { by: 'admin', version: 1, keys: ['password', 'interval'] },
    })
    expect(answer.text).not.toContain('secret')
  })

  it('is stored although the broker is unavailable, and the answer says that it was not published', async () => {
    const { id } = await functions.register()
    broker.unavailable = true
    const answer = await set(id, { a: 1 })
    expect([answer.status, answer.json.version, answer.json.published]).toEqual([200, 1, false])
    expect((await read(id)).configuration.a.value).toBe(1)
  })

  it.each(['"1"', '1', '*'])('is changed from the version that If-Match names: %s', async (tag) => {
    const { id } = await functions.register()
    await set(id, { a: 1 })
    const answer = await set(id, { a: 2 }, { 'If-Match': tag })
    expect([answer.status, answer.json.version, answer.headers.get('etag')]).toEqual([200, 2, '"2"'])
  })

  it.each(['"0"', '"2"', '"abc"', 'W/"1"'])('is refused with 412 for the If-Match %s', async (tag) => {
    const { id } = await functions.register()
    await set(id, { a: 1 })
    broker.clear()
    const answer = await set(id, { a: 2 }, { 'If-Match': tag })
    expect([answer.status, answer.json.error.code]).toEqual([412, 'PRECONDITION_FAILED'])
    expect([(await read(id)).version, broker.published]).toEqual([1, []])
  })

  it('lets only one of two changes from the same version win', async () => {
    const { id } = await functions.register()
    await set(id, { a: 0 })
    const answers = await Promise.all([1, 2].map((a) => set(id, { a }, { 'If-Match': '"1"' })))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 412])
    expect((await read(id)).version).toBe(2)
  })

  it('takes 128 keys and refuses one more', async () => {
    const { id } = await functions.register()
    const keys = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${n}`, n]))
    const refused = await set(id, keys(129))
    expect([refused.status, refused.json.error.details]).toEqual([
      422,
      [{ path: '', message: 'makes 129 keys: at most 128 are kept' }],
    ])
    expect((await set(id, keys(128))).status).toBe(200)
  })

  it.each<[string, unknown, number, string[]]>([
    ['no body', undefined, 400, []],
    ['no configuration', {}, 422, ['configuration']],
    ['a list', { configuration: [] }, 422, ['configuration']],
    ['the configuration null', { configuration: null }, 422, ['configuration']],
    ['a key with a blank', { configuration: { 'a b': 1 } }, 422, ['configuration.a b']],
    ['an empty key', { configuration: { '': 1 } }, 422, ['configuration.']],
    [
      'a key of 129 characters',
      { configuration: { ['k'.repeat(129)]: 1 } },
      422,
      [`configuration.${'k'.repeat(129)}`],
    ],
  ])('refuses %s', async (_what, body, code, paths) => {
    const { id } = await functions.register()
    const answer = await configure(id, { admin: true, body })
    const named = (answer.json.error.details ?? []).map(({ path }: { path: string }) => path)
    expect([answer.status, named]).toEqual([code, paths])
    expect([(await read(id)).version, broker.published]).toEqual([0, []])
  })

  it('refuses the key __proto__, as the same request of the device does', async () => {
    const { id } = await functions.register()
    const answer = await configure(id, { admin: true, body: '{"configuration":{"a":1,"__proto__":1}}' })
    expect([answer.status, (await read(id)).version]).toEqual([422, 0])
    expect(answer.json.error.details).toMatchObject([{ path: 'configuration.__proto__' }])
  })
})
