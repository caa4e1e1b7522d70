import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForActiveDevices } from './refusals.ts'

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(Date.parse('2026-03-01T12:00:00Z'))
  functions = await openFunctions()
})
afterAll(async () => {
  await functions.close()
  vi.useRealTimers()
})

const configure = (options: CallOptions) =>
  functions.call('devices-configure', 'POST', '/api/v1/devices/config', options)

const read = async (key: string) =>
  (await functions.call('devices-configuration', 'GET', '/api/v1/devices/config', { key })).json

const asAdmin = (functionName: string, method: string, id: number, path: string, body?: unknown) =>
  functions.call(functionName, method, `/api/v1/admin/devices/${id}/${path}`, { admin: true, body })

const body = { config_key: 'interval', config_value: 30, data_type: 'integer' }

describe('a key that a device sets', () => {
  itIsForActiveDevices(
    () => functions,
    (options) => configure({ body, ...options }),
  )

  it('is answered with its new value, and stored beside the other keys', async () => {
    const { id, key } = await functions.register()
    await configure({ key, body: { config_key: 'unit', config_value: 'C' } })
    const answer = await configure({ key, body })
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      message: 'Configuration updated successfully',
      config_key: 'interval',
      config_value: 30,
      data_type: 'integer',
      version: 2,
    })
    const updated_at = '2026-03-01T12:00:00Z'
    expect(await read(key)).toEqual({
      status: 'success',
      device_id: id,
      version: 2,
      configuration: {
        unit: { value: 'C', data_type: 'string', updated_at },
        interval: { value: 30, data_type: 'integer', updated_at },
      },
    })
  })

  it('is shown to the admin, and an event names the device as its author', async () => {
    const { id, key } = await functions.register()
    await configure({ key, body })
    const seen = (await asAdmin('admin-configuration', 'GET', id, 'config')).json
    expect(seen).toMatchObject({
      version: 1,
      reported_version: null,
      configuration: { interval: { value: 30 } },
    })
    const { events } = (await asAdmin('admin-events', 'GET', id, 'events')).json
    expect(events[0]).toEqual({
      event: 'configuration',
      type: 'device.configuration',
      timestamp: '2026-03-01T12:00:00Z',
      detail: { by: 'device', version: 1, keys: ['interval'] },
    })
  })

  it.each<[string, unknown, unknown]>([
    ['string', '30', '30'],
    ['integer', '-9007199254740991', -9007199254740991],
    ['float', '2.50', 2.5],
    ['float', 3, 3],
    ['boolean', 'false', false],
    ['json', '{"a":[1]}', { a: [1] }],
    ['json', null, null],
  ])('of the type %s stores %j as %j', async (data_type, config_value, value) => {
    const { key } = await functions.register()
    const answer = await configure({ key, body: { ...body, config_value, data_type } })
    expect(answer.json).toMatchObject({ config_value: value, data_type })
    expect((await read(key)).configuration.interval).toMatchObject({ value, data_type })
  })

  it.each<[string, unknown]>([
    ['integer', 30],
    ['integer', -9007199254740991],
    ['float', 0.5],
    ['float', 1e300],
    ['string', '30'],
    ['boolean', false],
    ['json', { a: [1] }],
    ['json', []],
    ['json', null],
  ])('without a type has the type %s for the value %j', async (data_type, config_value) => {
    const { key } = await functions.register()
    const answer = await configure({ key, body: { config_key: 'interval', config_value } })
    expect([answer.status, answer.json]).toMatchObject([200, { config_value, data_type }])
    expect((await read(key)).configuration.interval).toMatchObject({ value: config_value, data_type })
  })

  it.each<[string, unknown]>([
    ['string', 30],
    ['integer', 1.5],
    ['integer', '9007199254740992'],
    ['integer', true],
    ['float', 'warm'],
    ['float', '1e999'],
    ['boolean', 1],
    ['boolean', 'yes'],
    ['json', '{'],
  ])('of the type %s refuses the value %j', async (data_type, config_value) => {
    const { key } = await functions.register()
    const answer = await configure({ key, body: { ...body, config_value, data_type } })
    expect(answer.status).toBe(422)
    expect(answer.json.error).toMatchObject({
      code: 'VALIDATION_FAILED',
      details: [{ path: 'config_value', message: `is not of the type ${data_type}` }],
    })
    expect((await read(key)).version).toBe(0)
  })

  it.each<[string, unknown, number, string[]]>([
    ['no body', undefined, 400, []],
    ['nothing it needs', {}, 422, ['config_key', 'config_value']],
    ['a name with a blank', { ...body, config_key: 'a b' }, 422, ['config_key']],
    ['the name __proto__', { ...body, config_key: '__proto__' }, 422, ['config_key']],
    ['a name that is too long', { ...body, config_key: 'x'.repeat(129) }, 422, ['config_key']],
    ['an unknown type', { ...body, data_type: 'date' }, 422, ['data_type']],
  ])('is refused with %s', async (_what, body, status, paths) => {
    const { key } = await functions.register()
    const answer = await configure({ key, body })
    const named = (answer.json.error.details ?? []).map(({ path }: { path: string }) => path)
    expect([answer.status, named.sort()]).toEqual([status, paths])
    expect((await read(key)).version).toBe(0)
  })

  it('is refused when it is the 129th key, but may be changed when it exists', async () => {
    const { id, key } = await functions.register()
    const configuration = Object.fromEntries(Array.from({ length: 128 }, (_, i) => [`k${i}`, i]))
    await asAdmin('admin-configure', 'PUT', id, 'config', { configuration })
    expect((await configure({ key, body })).status).toBe(422)
    expect(await read(key)).toMatchObject({ version: 1, configuration: { k127: { value: 127 } } })
    const answer = await configure({ key, body: { ...body, config_key: 'k127' } })
    expect([answer.status, answer.json.version]).toEqual([200, 2])
    expect((await read(key)).configuration.k127.value).toBe(30)
  })

  it('is refused when the configuration becomes too large for one message', async () => {
    const { id, key } = await functions.register()
    const a = 'é'.repeat(30_000)
    const set = (b: string) => asAdmin('admin-configure', 'PUT', id, 'config', { configuration: { a, b } })
    const bytes = Buffer.byteLength(JSON.stringify({ version: 1, configuration: { a, b: '' } }))
    const rest = 'x'.repeat(128 * 1024 - bytes)
    const answer = await set(`${rest}x`)
    expect([answer.status, answer.json.error.code]).toEqual([422, 'VALIDATION_FAILED'])
    expect((await read(key)).version).toBe(0)
    expect((await set(rest)).status).toBe(200)
    const more = await configure({ key, body: { config_key: 'more', config_value: 'x' } })
    expect([more.status, (await read(key)).version]).toEqual([422, 1])
  })

  it('is stored when other keys are set at the same time', async () => {
    const { key } = await functions.register()
    const keys = Array.from({ length: 8 }, (_, i) => `k${i}`)
    const answers = await Promise.all(
      keys.map((config_key) => configure({ key, body: { ...body, config_key } })),
    )
    expect(answers.map(({ json }) => json.version).sort()).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(Object.keys((await read(key)).configuration).sort()).toEqual(keys)
  })
})
