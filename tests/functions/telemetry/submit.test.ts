import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CallOptions, type Layer, openLayer } from '../../support/layer.ts'

let layer: Layer
beforeAll(async () => {
  layer = await openLayer()
})
afterAll(() => layer.close())

const submit = (options: CallOptions, path = '/api/v1/devices/telemetry') =>
  layer.call('telemetry-submit', 'POST', path, options)

describe('a reading over HTTP', () => {
  it('is acknowledged with the device, its time and what was taken', async () => {
    const { id, key, name } = await layer.register()
    const answer = await submit({ key, body: { data: { t: 21.5 }, timestamp: new Date().toISOString() } })
    expect(answer.status).toBe(201)
    expect(answer.json).toMatchObject({ device_id: id, device_name: name, accepted: 1, rejected: [] })
    const latest = await layer.call('telemetry-latest', 'GET', `/api/v1/telemetry/${id}/latest`, { key })
    expect(latest.json.latest_data.t).toBe(21.5)
  })

  it('of a batch is taken without the bad ones, which are named by place', async () => {
    const { key } = await layer.register()
    const answer = await submit({ key, body: [{ data: { a: 1 } }, { data: { a: [] } }, { data: { a: 2 } }] })
    expect(answer.status).toBe(201)
    expect(answer.json.accepted).toBe(2)
    expect(answer.json.rejected).toMatchObject([{ index: 1, code: 'VALIDATION_FAILED' }])
  })

  it('is taken at every alias', async () => {
    const { id, key } = await layer.register()
    for (const path of ['/api/v1/telemetry', `/api/v1/mqtt/telemetry/${id}`])
      expect((await submit({ key, body: { data: { a: 1 } } }, path)).status).toBe(201)
  })

  it("goes nowhere at another device's address", async () => {
    const { key } = await layer.register()
    const other = await layer.register()
    const answer = await submit({ key, body: { data: { a: 1 } } }, `/api/v1/mqtt/telemetry/${other.id}`)
    expect(answer.status).toBe(404)
    const history = await layer.call('telemetry-history', 'GET', `/api/v1/telemetry/${other.id}`, {
      admin: true,
    })
    expect(history.json.count).toBe(0)
  })

  it.each<[string, CallOptions, number, string]>([
    ['no body', {}, 400, 'MALFORMED_JSON'],
    ['broken JSON', { body: '{"a":' }, 400, 'MALFORMED_JSON'],
    [
      'another content type',
      { body: '{"a":1}', headers: { 'Content-Type': 'text/plain' } },
      415,
      'UNSUPPORTED_MEDIA_TYPE',
    ],
    ['nothing to store', { body: { data: {} } }, 422, 'VALIDATION_FAILED'],
    [
      'no device',
      { body: { data: { a: 1 } }, headers: { 'X-API-Key': 'x'.repeat(32) } },
      401,
      'UNAUTHORIZED',
    ],
  ])('with %s is refused', async (_what, options, status, code) => {
    const { key } = await layer.register()
    const answer = await submit({ key, ...options })
    expect([answer.status, answer.json.error.code]).toEqual([status, code])
  })
})
