import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type CallOptions, type Layer, openLayer } from '../../support/layer.ts'
import { itIsForActiveDevices } from './refusals.ts'

let layer: Layer
beforeAll(async () => {
  vi.setSystemTime(Date.parse('2026-03-01T12:00:00Z'))
  layer = await openLayer()
})
afterAll(async () => {
  await layer.close()
  vi.useRealTimers()
})

const read = (options: CallOptions) =>
  layer.call('devices-configuration', 'GET', '/api/v1/devices/config', options)

const configure = (id: number, configuration: unknown) =>
  layer.call('admin-configure', 'PUT', `/api/v1/admin/devices/${id}/config`, {
    admin: true,
    body: { configuration },
  })

describe('the configuration that a device reads', () => {
  itIsForActiveDevices(() => layer, read)

  it('is empty at version 0 before there is one', async () => {
    const { id, key } = await layer.register()
    const answer = await read({ key })
    expect([answer.status, answer.headers.get('etag')]).toEqual([200, '"0"'])
    expect(answer.json).toEqual({ status: 'success', device_id: id, version: 0, configuration: {} })
  })

  it('has what operators desire, typed, with its version', async () => {
    const { id, key } = await layer.register()
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

  it('is that of the device alone', async () => {
    const { key } = await layer.register()
    await configure((await layer.register()).id, { interval: 30 })
    expect((await read({ key })).json).toMatchObject({ version: 0, configuration: {} })
  })

  it.each(['"1"', 'W/"1"', '"7", "1"', '*'])('is not sent again to who has it: %s', async (tag) => {
    const { id, key } = await layer.register()
    await configure(id, { interval: 30 })
    const answer = await read({ key, headers: { 'If-None-Match': tag } })
    expect([answer.status, answer.text, answer.headers.get('etag')]).toEqual([304, '', '"1"'])
  })

  it.each(['"0"', '"11"', '1', ''])('is sent to who has another: %j', async (tag) => {
    const { id, key } = await layer.register()
    await configure(id, { interval: 30 })
    const answer = await read({ key, headers: { 'If-None-Match': tag } })
    expect([answer.status, answer.json.version]).toEqual([200, 1])
  })
})
