import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForReaders } from './readers.ts'

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(Date.parse('2026-03-01T12:00:00Z'))
  functions = await openFunctions({ PUBLIC_TELEMETRY_READS: 'false' })
})
afterAll(async () => {
  await functions.close()
  vi.useRealTimers()
})

const latest = (id: number | string, options: CallOptions = { admin: true }) =>
  functions.call('telemetry-latest', 'GET', `/api/v1/telemetry/${id}/latest`, options)

const send = (key: string, body: unknown) =>
  functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', { key, body })

describe('the latest values of a device', () => {
  itIsForReaders(
    () => functions,
    (id, options) => latest(id, options),
  )

  it('are the newest value of every field, with the time of the newest of all', async () => {
    const { id, key, name } = await functions.register()
    await send(key, [
      { data: { a: 1, b: 'old', c: true }, timestamp: '2026-03-01T10:00:00Z' },
      { data: { a: 3 }, timestamp: '2026-03-01T11:30:00.5Z' },
      { data: { a: 2, b: 'new' }, timestamp: '2026-03-01T11:00:00Z' },
    ])
    const answer = await latest(id)
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      device_id: id,
      device_name: name,
      device_type: 'sensor',
      latest_data: { timestamp: '2026-03-01T11:30:00.500Z', a: 3, b: 'new', c: true },
    })
  })

  it('do not hide a reading from weeks ago', async () => {
    const { id, key } = await functions.register()
    await send(key, { data: { a: 1 }, timestamp: '2026-02-05T00:00:00Z' })
    expect((await latest(id)).json.latest_data).toEqual({ timestamp: '2026-02-05T00:00:00Z', a: 1 })
  })

  it('are those of now: what was stored while the clock of the server was wrong does not hide them', async () => {
    const { id, key } = await functions.register()
    await send(key, { data: { a: 1, rare: 2 }, timestamp: '2026-03-01T10:00:00Z' })
    vi.setSystemTime(Date.parse('2026-06-01T12:00:00Z'))
    await send(key, { data: { a: 9, b: 9 } })
    vi.setSystemTime(Date.parse('2026-03-01T12:00:00Z'))
    await send(key, { data: { a: 3 }, timestamp: '2026-03-01T11:00:00Z' })
    expect((await latest(id)).json.latest_data).toEqual({ timestamp: '2026-03-01T11:00:00Z', a: 3, rare: 2 })
  })

  it('answer 404 for a device without readings, another message than for an unknown one', async () => {
    const { id } = await functions.register()
    const answer = await latest(id)
    expect([answer.status, answer.json.error.code, answer.json.error.message]).toEqual([
      404,
      'NOT_FOUND',
      'This device has no telemetry yet.',
    ])
  })
})
