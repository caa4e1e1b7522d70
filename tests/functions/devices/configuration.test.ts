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

const read = (options: CallOptions) =>
  functions.call('devices-configuration', 'GET', '/api/v1/devices/config', options)

const configure = (id: number, configuration: unknown) =>
  functions.call('admin-configure', 'PUT', `/api/v1/admin/devices/${id}/config`, {
    admin: true,
    body: { configuration },
  })

describe('the configuration that a device reads', () => {
  itIsForActiveDevices(() => functions, read)

  it('has version 0 and no keys before its first change', async () => {
    const { id, key } = await functions.register()
    const answer = await read({ key })
    expect([answer.status, answer.headers.get('etag')]).toEqual([200, '"0"'])
    expect(answer.json).toEqual({ status: 'success', device_id: id, version: 0, configuration: {} })
  })

  it('has the values that the admin set, with their types and the version', async () => {
    const { id, key } = await functions.register()
    await configure(id, { interval: 30, unit: 'C', gone: 1 })
    await configure(id, { alarm: false, gain: 0.5, limits: { t: [1, null] }, gone: null })
    const answer = await read({ key })
    expect(answer.headers.get('etag')).toBe('"2"')
    const updated_at = '2026-03-01T12:00:00Z'
    expect(answer.json).toEqual({
      status: 'success',
      device_id: id,
      version: 2,
      configuration: {
        interval: { value: 30, data_type: 'integer', updated_at },
        unit: { value: 'C', data_type: 'string', updated_at },
        alarm: { value: false, data_type: 'boolean', updated_at },
        gain: { value: 0.5, data_type: 'float', updated_at },
        limits: { value: { t: [1, null] }, data_type: 'json', updated_at },
      },
    })
  })

  it('is the one of this device, not of another', async () => {
    const { key } = await functions.register()
    await configure((await functions.register()).id, { interval: 30 })
    expect((await read({ key })).json).toMatchObject({ version: 0, configuration: {} })
  })

  it.each(['"1"', 'W/"1"', '"7", "1"', '*'])(
    'is answered with 304 to a device that has this version: %s',
    async (tag) => {
      const { id, key } = await functions.register()
      await configure(id, { interval: 30 })
      const answer = await read({ key, headers: { 'If-None-Match': tag } })
      expect([answer.status, answer.text, answer.headers.get('etag')]).toEqual([304, '', '"1"'])
    },
  )

  it.each(['"0"', '"11"', '1', ''])(
    'is answered with 200 to a device that has another version: %j',
    async (tag) => {
      const { id, key } = await functions.register()
      await configure(id, { interval: 30 })
      const answer = await read({ key, headers: { 'If-None-Match': tag } })
      expect([answer.status, answer.json.version]).toEqual([200, 1])
    },
  )

  it('counts as reported when the device asks with its version, once', async () => {
    const { id, key } = await functions.register()
    await configure(id, { interval: 30 })
    const reported = async () => {
      const path = `/api/v1/admin/devices/${id}/config`
      return (await functions.call('admin-configuration', 'GET', path, { admin: true })).json.reported_version
    }
    await read({ key })
    await read({ key, headers: { 'If-None-Match': '*' } })
    expect(await reported()).toBeNull()
    for (let n = 0; n < 2; n += 1) await read({ key, headers: { 'If-None-Match': '"1"' } })
    expect(await reported()).toBe(1)
    const path = `/api/v1/admin/devices/${id}/events`
    const { json } = await functions.call('admin-events', 'GET', path, { admin: true })
    const kinds = json.events.map(({ event }: { event: string }) => event)
    expect(kinds.filter((kind: string) => kind === 'configuration_reported')).toHaveLength(1)
  })
})
