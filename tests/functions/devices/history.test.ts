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

const history = (options: CallOptions, query = '') =>
  layer.call('devices-history', 'GET', `/api/v1/devices/telemetry${query}`, options)

/** A device with a reading at each of these times of the day. */
const withReadings = async (...times: string[]) => {
  const device = await layer.register()
  const body = times.map((time, i) => ({ data: { t: i, h: 50 }, timestamp: `2026-03-01T${time}Z` }))
  const answer = await layer.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', {
    key: device.key,
    body,
  })
  expect(answer.json.accepted).toBe(times.length)
  return device
}

const timesOf = (json: { telemetry: { timestamp: string }[] }) =>
  json.telemetry.map(({ timestamp }) => timestamp.slice(11, -1))

describe('the history of a device', () => {
  itIsForActiveDevices(() => layer, history)

  it('is its own readings of the last hour, newest first', async () => {
    const { key } = await withReadings('10:59:59.999', '11:00:00', '11:30:00.000000001')
    await withReadings('11:45:00')
    const answer = await history({ key })
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      telemetry: [
        { timestamp: '2026-03-01T11:30:00.000000001Z', t: 2, h: 50 },
        { timestamp: '2026-03-01T11:00:00Z', t: 1, h: 50 },
      ],
      count: 2,
      limit: 1000,
      start_time: '2026-03-01T11:00:00Z',
    })
  })

  it('has the readings that are ahead of our clock', async () => {
    const { key } = await withReadings('11:59:00', '13:00:00')
    expect(timesOf((await history({ key })).json)).toEqual(['13:00:00', '11:59:00'])
  })

  it('is of the range, the fields and the order that are asked for', async () => {
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
  ])('continues behind a page (%s) by its cursor', async (order, first, second) => {
    const { key } = await withReadings('11:01:00', '11:02:00', '11:03:00')
    const query = `?limit=2&order=${order}`
    const page = (await history({ key }, query)).json
    expect([page.limit, page.count, timesOf(page)]).toEqual([2, 2, first])
    const rest = (await history({ key }, `${query}&cursor=${page.next_cursor}`)).json
    expect(timesOf(rest)).toEqual(second)
    expect(rest).not.toHaveProperty('next_cursor')
  })

  it('has a limit of 10000, whatever is asked', async () => {
    const { key } = await layer.register()
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
    const { key } = await layer.register()
    const answer = await history({ key }, `?${name}=${value}`)
    expect([answer.status, answer.json.error.code]).toEqual([422, 'VALIDATION_FAILED'])
    expect(answer.json.error.details[0].path.split('.')[0]).toBe(name)
  })
})
