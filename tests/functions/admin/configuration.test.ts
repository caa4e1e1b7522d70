import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly, itNeedsAKnownDevice } from './refusals.ts'

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(Date.parse('2026-03-01T12:00:00Z'))
  functions = await openFunctions()
})
afterAll(async () => {
  await functions.close()
  vi.useRealTimers()
})

const read = (id: number | string, options: CallOptions = { admin: true }) =>
  functions.call('admin-configuration', 'GET', `/api/v1/admin/devices/${id}/config`, options)

const configure = (id: number, configuration: object) =>
  functions.call('admin-configure', 'PUT', `/api/v1/admin/devices/${id}/config`, {
    admin: true,
    body: { configuration },
  })

describe('the configuration of a device', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => read((await functions.register()).id, options),
  )
  itNeedsAKnownDevice((id) => read(id))

  it('has version 0 and no keys before its first change', async () => {
    const { id } = await functions.register()
    const answer = await read(id)
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      device_id: id,
      version: 0,
      reported_version: null,
      reported_at: null,
      configuration: {},
    })
    expect(answer.headers.get('etag')).toBe('"0"')
  })

  it('shows the desired version beside the one that the device reports', async () => {
    const { id } = await functions.register()
    await configure(id, { interval: 30 })
    await configure(id, { unit: 'C' })
    await functions.invoke('mqtt-report-configuration', {
      payload: Buffer.from('{"version":1}').toString('base64'),
      topic: `iotflow/devices/${id}/config/reported`,
      client_id: String(id),
      received_at: Date.now() + 1500,
    })
    const answer = await read(id)
    const updated_at = '2026-03-01T12:00:00Z'
    expect(answer.json).toEqual({
      status: 'success',
      device_id: id,
      version: 2,
      reported_version: 1,
      reported_at: '2026-03-01T12:00:01.500Z',
      configuration: {
        interval: { value: 30, data_type: 'integer', updated_at },
        unit: { value: 'C', data_type: 'string', updated_at },
      },
    })
    expect(answer.headers.get('etag')).toBe('"2"')
  })

  it('is answered with 304 and no body to a client that has this version', async () => {
    const { id } = await functions.register()
    await configure(id, { interval: 30 })
    const ask = (tag: string) => read(id, { admin: true, headers: { 'If-None-Match': tag } })
    for (const tag of ['"1"', 'W/"1"', '"0", "1"', '*']) {
      const answer = await ask(tag)
      expect([answer.status, answer.text, answer.headers.get('etag')]).toEqual([304, '', '"1"'])
    }
    expect((await ask('"0"')).status).toBe(200)
  })
})
