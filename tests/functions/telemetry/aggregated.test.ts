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

const aggregated = (id: number | string, query = '', options: CallOptions = { admin: true }) =>
  functions.call('telemetry-aggregated', 'GET', `/api/v1/telemetry/${id}/aggregated${query}`, options)

/** Registers a device and stores these readings: time of the day and data. */
const withReadings = async (...readings: [string, Record<string, unknown>][]) => {
  const device = await functions.register()
  const body = readings.map(([time, data]) => ({ data, timestamp: `2026-03-01T${time}Z` }))
  await functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', { key: device.key, body })
  return device
}

describe('an aggregation', () => {
  itIsForReaders(
    () => functions,
    (id, options) => aggregated(id, '', options),
  )

  it('is the mean temperature per hour of the last day unless something else is asked for', async () => {
    const { id, name } = await withReadings(
      ['08:10:00', { temperature: 10 }],
      ['08:50:00', { temperature: 20 }],
      ['11:00:00', { temperature: 30, other: 1 }],
    )
    const answer = await aggregated(id)
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      device_id: id,
      device_name: name,
      device_type: 'sensor',
      field: 'temperature',
      aggregation: 'mean',
      window: '1h',
      start_time: '2026-02-28T12:00:00Z',
      data: [
        { timestamp: '2026-03-01T11:00:00Z', value: 30 },
        { timestamp: '2026-03-01T08:00:00Z', value: 15 },
      ],
      count: 2,
    })
  })

  it.each([
    ['mean', 3],
    ['sum', 9],
    ['count', 3],
    ['min', 1],
    ['max', 6],
    ['first', 2],
    ['last', 1],
    ['median', 2],
  ])('%s of 2, 6 and 1 is %d', async (aggregation, value) => {
    const { id } = await withReadings(['11:01:00', { v: 2 }], ['11:02:00', { v: 6 }], ['11:03:00', { v: 1 }])
    const { json } = await aggregated(id, `?field=v&aggregation=${aggregation}`)
    expect([json.aggregation, json.data]).toEqual([
      aggregation,
      [{ timestamp: '2026-03-01T11:00:00Z', value }],
    ])
  })

  it('has windows that begin at whole multiples of their length, the first one too', async () => {
    const { id } = await withReadings(['11:04:59', { v: 1 }], ['11:05:00', { v: 2 }], ['11:09:59', { v: 3 }])
    const { json } = await aggregated(
      id,
      '?field=v&aggregation=sum&window=5m&start_time=2026-03-01T11:04:00Z',
    )
    expect([json.window, json.data]).toEqual([
      '5m',
      [
        { timestamp: '2026-03-01T11:05:00Z', value: 5 },
        { timestamp: '2026-03-01T11:00:00Z', value: 1 },
      ],
    ])
  })

  it('begins with the reading at start_time and ends before the one at end_time', async () => {
    const { id } = await withReadings(
      ['09:59:59', { v: 1 }],
      ['10:00:00', { v: 2 }],
      ['10:59:59', { v: 4 }],
      ['11:00:00', { v: 8 }],
    )
    const range = 'start_time=2026-03-01T10:00:00Z&end_time=2026-03-01T11:00:00Z'
    expect((await aggregated(id, `?field=v&aggregation=sum&${range}`)).json.data).toEqual([
      { timestamp: '2026-03-01T10:00:00Z', value: 6 },
    ])
  })

  it('has every numeric field for field=*', async () => {
    const { id } = await withReadings(['11:01:00', { a: 1, b: 10 }], ['11:02:00', { a: 3 }])
    const { json } = await aggregated(id, '?field=*')
    expect(json.field).toBe('*')
    expect(json.data).toEqual([{ timestamp: '2026-03-01T11:00:00Z', a: 2, b: 10 }])
  })

  it('is empty where no reading lies in the range', async () => {
    const { id } = await withReadings(['08:00:00', { v: 1 }])
    expect((await aggregated(id, '?field=v&start_time=-1h')).json).toMatchObject({ data: [], count: 0 })
  })

  it('follows the zone of the query, else that of the device, also over a change of the clock', async () => {
    vi.setSystemTime(Date.parse('2026-03-30T10:00:00Z'))
    const { id, key } = await functions.register({ timezone: 'Europe/Berlin' })
    const body = ['28T22:59:59', '28T23:00:00', '29T21:59:59', '29T22:00:00'].map((time) => ({
      data: { v: 1 },
      timestamp: `2026-03-${time}Z`,
    }))
    await functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', { key, body })
    const ask =
      'field=v&aggregation=count&window=1d&start_time=2026-03-28T12:00:00&end_time=2026-03-30T12:00:00'
    const berlin = await aggregated(id, `?${ask}`)
    expect([berlin.json.start_time, berlin.json.data]).toEqual([
      '2026-03-28T11:00:00Z',
      [
        { timestamp: '2026-03-29T22:00:00Z', value: 1 },
        { timestamp: '2026-03-28T23:00:00Z', value: 2 },
        { timestamp: '2026-03-27T23:00:00Z', value: 1 },
      ],
    ])
    expect((await aggregated(id, `?${ask}&timezone=Europe/Berlin`)).json).toEqual(berlin.json)
    const utc = await aggregated(id, `?${ask}&timezone=UTC`)
    expect([utc.json.start_time, utc.json.data]).toEqual([
      '2026-03-28T12:00:00Z',
      [
        { timestamp: '2026-03-29T00:00:00Z', value: 2 },
        { timestamp: '2026-03-28T00:00:00Z', value: 2 },
      ],
    ])
    vi.setSystemTime(Date.parse('2026-03-01T12:00:00Z'))
  })

  it('answers 422 NOT_NUMERIC for a field that is text, and says so', async () => {
    const { id } = await withReadings(['11:01:00', { value: '317.3988' }])
    const answer = await aggregated(id, '?field=value')
    expect([answer.status, answer.json.error.code, answer.json.error.details]).toEqual([
      422,
      'NOT_NUMERIC',
      [{ path: 'field', message: 'is text: mean needs numbers; count, first and last take every type' }],
    ])
    const last = await aggregated(id, '?field=value&aggregation=last')
    expect(last.json.data).toEqual([{ timestamp: '2026-03-01T11:00:00Z', value: '317.3988' }])
  })

  it.each([
    ['null', [null, 2, null, 1]],
    ['0', [0, 2, 0, 1]],
    ['previous', [2, 2, 1, 1]],
  ])('adds the empty windows for fill=%s', async (fill, values) => {
    const { id } = await withReadings(['09:01:00', { v: 1 }], ['11:59:00', { v: 2 }])
    const { json } = await aggregated(id, `?field=v&fill=${fill}&start_time=2026-03-01T09:30:00Z`)
    expect(json.data).toEqual([
      { timestamp: '2026-03-01T12:00:00Z', value: fill === 'previous' ? 2 : values[0] },
      { timestamp: '2026-03-01T11:00:00Z', value: 2 },
      { timestamp: '2026-03-01T10:00:00Z', value: fill === '0' ? 0 : null },
      { timestamp: '2026-03-01T09:00:00Z', value: fill === '0' ? 0 : null },
    ])
    const all = await aggregated(id, `?field=*&fill=${fill}&start_time=2026-03-01T09:00:00Z`)
    expect(all.json.data.map(({ v }: { v: number | null }) => v)).toEqual(values)
  })

  it.each(['relay/0', 'LW setpoint (main)', '温度', 'PM2.5', 'a%b', '°C', '#1', 'A & B + C', '$cost'])(
    'finds the field %s, as history does',
    async (name) => {
      const { id } = await withReadings(['11:01:00', { [name]: 1.25, other: 2 }])
      const query = new URLSearchParams({ field: name, fields: `${name},other` })
      expect((await aggregated(id, `?${query}`)).json.data).toEqual([
        { timestamp: '2026-03-01T11:00:00Z', value: 1.25 },
      ])
      const path = `/api/v1/telemetry/${id}?${query}`
      const history = await functions.call('telemetry-history', 'GET', path, { admin: true })
      expect(history.json.data).toEqual([{ timestamp: '2026-03-01T11:01:00Z', [name]: 1.25, other: 2 }])
    },
  )

  it('gives 0 and 1 for booleans', async () => {
    const { id } = await withReadings(['11:01:00', { on: true }], ['11:02:00', { on: false }])
    const values = await Promise.all(
      ['mean', 'sum', 'count', 'min', 'max', 'first', 'last', 'median'].map(
        async (aggregation) =>
          (await aggregated(id, `?field=on&aggregation=${aggregation}`)).json.data[0].value,
      ),
    )
    expect(values).toEqual([0.5, 1, 2, 0, 1, 1, 0, 0.5])
  })

  it('ends a few minutes after now, as every query does', async () => {
    const { id } = await withReadings(['12:04:59', { v: 1 }])
    expect((await aggregated(id, '?field=v')).json.count).toBe(1)
    expect((await aggregated(id, '?field=v&end_time=2026-03-01T12:00:00Z')).json.count).toBe(0)
  })

  it('takes times back from now in units of the calendar', async () => {
    const { id } = await functions.register({ timezone: 'Europe/Berlin' })
    const from = async (start: string) =>
      (await aggregated(id, `?window=1d&start_time=${start}`)).json.start_time
    expect(await from('-1h30m')).toBe('2026-03-01T10:30:00Z')
    expect(await from('-1mo')).toBe('2026-02-01T12:00:00Z')
    expect(await from('-1y')).toBe('2025-03-01T12:00:00Z')
    expect(await from('-6mo')).toBe('2025-09-01T11:00:00Z')
  })

  it.each([
    ['window=30s', '30s'],
    ['window=1h30m', '1h30m'],
    ['window=1mo', '1mo'],
    ['window=1d', '1d'],
    ['window=1w', '1w'],
    ['window=', '1h'],
  ])('takes ?%s', async (query, window) => {
    const { id } = await withReadings(['11:01:00', { v: 1 }])
    expect((await aggregated(id, `?field=v&start_time=-2h&${query}`)).json).toMatchObject({
      window,
      count: 1,
    })
  })

  it.each([
    ['aggregation=mode', 'aggregation'],
    ['window=0m', 'window'],
    ['window=5', 'window'],
    ['window=-5m', 'window'],
    ['window=5m5', 'window'],
    ['window=1d12h', 'window'],
    ['window=1w1d', 'window'],
    ['timezone=Berlin', 'timezone'],
    ['timezone=%2B01:00', 'timezone'],
    ['fill=linear', 'fill'],
    ['field=a,b', 'field'],
    ['start_time=soon', 'start_time'],
    ['end_time=2026-13-01', 'end_time'],
  ])('answers 422 for ?%s and names the parameter', async (query, path) => {
    const { id } = await functions.register()
    const answer = await aggregated(id, `?${query}`)
    expect([answer.status, answer.json.error.code, answer.json.error.details[0].path]).toEqual([
      422,
      'VALIDATION_FAILED',
      path,
    ])
  })

  it('refuses more than 10,000 windows, and takes 10,000', async () => {
    const { id } = await functions.register()
    const ask = (seconds: number) =>
      aggregated(id, `?window=1s&start_time=2026-03-01T00:00:00Z&end_time=${1_772_323_200 + seconds}`)
    const refused = await ask(10_001)
    expect([refused.status, refused.json.error.details]).toEqual([
      422,
      [{ path: 'window', message: 'makes more than 10000 windows of this range' }],
    ])
    expect((await ask(10_000)).status).toBe(200)
  })
})
