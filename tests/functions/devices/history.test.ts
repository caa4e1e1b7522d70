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

const history = (options: CallOptions, query = '') =>
  functions.call('devices-history', 'GET', `/api/v1/devices/telemetry${query}`, options)

/** Registers a device and stores a reading at each of these times of the day. */
const withReadings = async (...times: string[]) => {
  const device = await functions.register()
  const body = times.map((time, i) => ({ data: { t: i, h: 50 }, timestamp: `2026-03-01T${time}Z` }))
  const answer = await functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', {
    key: device.key,
    body,
  })
  expect(answer.json.accepted).toBe(times.length)
  return device
}

const timesOf = (json: { telemetry: { timestamp: string }[] }) =>
  json.telemetry.map(({ timestamp }) => timestamp.slice(11, -1))

describe('the history of a device', () => {
  itIsForActiveDevices(() => functions, history)

  it('shows its own readings of the last day, newest first', async () => {
    const { key } = await withReadings('11:00:00', '11:30:00.000000001')
    const body = [
      { t: 9, timestamp: '2026-02-28T12:00:00Z' },
      { t: 8, timestamp: '2026-02-28T11:59:59.999Z' },
    ]
    await functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', { key, body })
    await withReadings('11:45:00')
    const answer = await history({ key })
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      telemetry: [
        { timestamp: '2026-03-01T11:30:00.000000001Z', t: 1, h: 50 },
        { timestamp: '2026-03-01T11:00:00Z', t: 0, h: 50 },
        { timestamp: '2026-02-28T12:00:00Z', t: 9 },
      ],
      count: 3,
      limit: 1000,
      start_time: '2026-02-28T12:00:00Z',
    })
  })

  it('shows readings that are as far ahead of the clock of the server as clocks are believed', async () => {
    const { key } = await withReadings('11:59:00', '12:04:59')
    expect(timesOf((await history({ key })).json)).toEqual(['12:04:59', '11:59:00'])
  })

  it('shows the range, the fields and the order that the query names', async () => {
    const { key } = await withReadings('08:00:00', '09:00:00', '10:00:00', '11:00:00')
    const { json } = await history(
      { key },
      '?start_time=-3h&end_time=2026-03-01T11:00:00Z&order=asc&fields=h',
    )
    expect(json).toMatchObject({ count: 2, start_time: '2026-03-01T09:00:00Z' })
    expect(json.telemetry).toEqual([
      { timestamp: '2026-03-01T09:00:00Z', h: 50 },
      { timestamp: '2026-03-01T10:00:00Z', h: 50 },
    ])
  })

  it.each([
    ['desc', ['11:03:00', '11:02:00'], ['11:01:00']],
    ['asc', ['11:01:00', '11:02:00'], ['11:03:00']],
  ])('continues after a page (%s) with its cursor', async (order, first, second) => {
    const { key } = await withReadings('11:01:00', '11:02:00', '11:03:00')
    const query = `?limit=2&order=${order}`
    const page = (await history({ key }, query)).json
    expect([page.limit, page.count, timesOf(page)]).toEqual([2, 2, first])
    const rest = (await history({ key }, `${query}&cursor=${page.next_cursor}`)).json
    expect(timesOf(rest)).toEqual(second)
    expect(rest).not.toHaveProperty('next_cursor')
  })

  it('lowers a limit above 10000', async () => {
    const { key } = await functions.register()
    expect((await history({ key }, '?limit=10001')).json.limit).toBe(10_000)
  })

  it.each([
    ['start_time', 'yesterday'],
    ['end_time', '2026-13-01'],
    ['limit', '0'],
    ['limit', '1.5'],
    ['order', 'random'],
    ['fields', '_time'],
    ['cursor', 'x'],
  ])('is refused with the %s %s', async (name, value) => {
    const { key } = await functions.register()
    const answer = await history({ key }, `?${name}=${value}`)
    expect([answer.status, answer.json.error.code]).toEqual([422, 'VALIDATION_FAILED'])
    expect(answer.json.error.details[0].path.split('.')[0]).toBe(name)
  })
})
