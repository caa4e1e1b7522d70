import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly } from '../admin/refusals.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(noon)
  functions = await openFunctions()
})
beforeEach(() => vi.setSystemTime(noon))
afterAll(async () => {
  await functions.close()
  vi.useRealTimers()
})

const read = (query: object, options: Parameters<TestFunctions['call']>[3] = { admin: true }) => {
  const text = new URLSearchParams(query as Record<string, string>).toString()
  return functions.call('telemetry-fleet', 'GET', `/api/v1/telemetry?${text}`, options)
}
/** Each reading: minutes before noon, and its fields. */
const device = async (labels: object, ...readings: (readonly [minutes: number, fields: object])[]) => {
  const made = await functions.register({ labels })
  for (const [minutes, data] of readings) {
    const body = { data, timestamp: new Date(noon - minutes * 60_000).toISOString() }
    const { status } = await functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', {
      key: made.key,
      body,
    })
    expect(status).toBe(201)
  }
  return made
}

describe('one field of many devices', () => {
  itIsForAdminsOnly(
    () => functions,
    (options) => read({ field: 'temperature' }, options),
  )

  it('is not shown to a device', async () => {
    const { key } = await device({ site: 'own' }, [1, { temperature: 1 }])
    expect((await read({ field: 'temperature', selector: 'site=own' }, { key })).status).toBe(401)
  })

  it('is its newest value of each device that the selector means, with its time', async () => {
    const site = { site: 'latest' }
    const one = await device({ ...site, floor: '1' }, [60, { temperature: 20 }], [30, { temperature: 21 }])
    const rare = await device({ ...site, floor: '2' }, [60, { temperature: 'hot' }], [30, { humidity: 1 }])
    const none = await device(site, [30, { humidity: 2 }])
    await device({ site: 'elsewhere' }, [1, { temperature: 99 }])
    const answer = await read({ field: 'temperature', selector: 'site=latest' })
    expect([answer.status, answer.json]).toEqual([
      200,
      {
        status: 'success',
        total_devices: 3,
        field: 'temperature',
        devices: [
          {
            device_id: one.id,
            device_name: one.name,
            device_type: 'sensor',
            labels: { site: 'latest', floor: '1' },
            timestamp: '2026-03-01T11:30:00Z',
            value: 21,
          },
          expect.objectContaining({ device_id: rare.id, timestamp: '2026-03-01T11:00:00Z', value: 'hot' }),
          expect.objectContaining({ device_id: none.id, timestamp: null, value: null }),
        ],
      },
    ])
    const some = await read({ field: 'temperature', selector: 'site=latest,floor!=2' })
    expect(some.json.devices.map(({ device_id }: { device_id: number }) => device_id)).toEqual([
      one.id,
      none.id,
    ])
    expect((await read({ field: 'temperature', selector: 'site=nowhere' })).json).toMatchObject({
      total_devices: 0,
      devices: [],
    })
  })

  it('comes page by page', async () => {
    const ids: number[] = []
    for (let n = 0; n < 5; n += 1) ids.push((await device({ site: 'pages' }, [n, { v: n }])).id)
    for (const more of [{}, { aggregation: 'max' }]) {
      const found: number[] = []
      for (let cursor = ''; ; ) {
        const { json } = await read({ field: 'v', selector: 'site=pages', limit: 2, cursor, ...more })
        expect(json.total_devices).toBe(5)
        expect(json.devices.length).toBeLessThanOrEqual(2)
        found.push(...json.devices.map(({ device_id }: { device_id: number }) => device_id))
        if (json.next_cursor === undefined) break
        cursor = json.next_cursor
      }
      expect(found).toEqual(ids)
    }
  })

  it('with an aggregation is a series of each device, in windows that begin alike', async () => {
    const site = { site: 'series' }
    const one = await device(site, [90, { v: 1 }], [70, { v: 3 }], [30, { v: 10 }])
    const text = await device(site, [30, { v: 'text' }])
    const none = await device(site)
    const query = { field: 'v', selector: 'site=series', aggregation: 'mean', start_time: '-3h' }
    const answer = await read(query)
    expect([answer.status, answer.json]).toEqual([
      200,
      {
        status: 'success',
        total_devices: 3,
        field: 'v',
        aggregation: 'mean',
        window: '1h',
        start_time: '2026-03-01T09:00:00Z',
        devices: [
          {
            device_id: one.id,
            device_name: one.name,
            device_type: 'sensor',
            labels: site,
            data: [
              { timestamp: '2026-03-01T11:00:00Z', value: 10 },
              { timestamp: '2026-03-01T10:00:00Z', value: 2 },
            ],
            count: 2,
          },
          expect.objectContaining({ device_id: text.id, data: [], count: 0, error: 'NOT_NUMERIC' }),
          expect.objectContaining({ device_id: none.id, data: [], count: 0 }),
        ],
      },
    ])
    const single = await functions.call(
      'telemetry-aggregated',
      'GET',
      `/api/v1/telemetry/${one.id}/aggregated?field=v&start_time=-3h`,
      { admin: true },
    )
    expect(answer.json.devices[0].data).toEqual(single.json.data)
    const filled = await read({ ...query, aggregation: 'last', end_time: '-1h', fill: 'null', window: '30m' })
    expect(filled.json.devices[0].data).toEqual([
      { timestamp: '2026-03-01T10:30:00Z', value: 3 },
      { timestamp: '2026-03-01T10:00:00Z', value: null },
      { timestamp: '2026-03-01T09:30:00Z', value: null },
      { timestamp: '2026-03-01T09:00:00Z', value: null },
    ])
  })

  it('has fewer devices on a page of many windows, and goes on behind them', async () => {
    const ids: number[] = []
    for (let n = 0; n < 6; n += 1) ids.push((await device({ site: 'wide' }, [10, { v: n }])).id)
    const query = {
      field: 'v',
      selector: 'site=wide',
      aggregation: 'last',
      window: '1m',
      fill: '0',
      start_time: new Date(noon - 9999 * 60_000).toISOString(),
      end_time: new Date(noon).toISOString(),
    }
    const first = await read(query)
    expect(first.text.length).toBeLessThan(5_000_000)
    const second = await read({ ...query, cursor: first.json.next_cursor })
    const shown = [first, second].map(({ json }) =>
      json.devices.map(({ device_id, count }: { device_id: number; count: number }) => [device_id, count]),
    )
    expect(shown).toEqual([ids.slice(0, 5).map((id) => [id, 9999]), [[ids[5], 9999]]])
    expect(second.json.next_cursor).toBeUndefined()
  })

  it.each<[object, string]>([
    [{}, 'field'],
    [{ field: '*' }, 'field'],
    [{ field: 'v', selector: 'site==north' }, 'selector'],
    [{ field: 'v', window: '1h' }, 'window'],
    [{ field: 'v', start_time: '-1h' }, 'start_time'],
    [{ field: 'v', aggregation: 'average' }, 'aggregation'],
    [{ field: 'v', aggregation: 'mean', window: '1s', start_time: '-30d' }, 'window'],
    [{ field: 'v', cursor: 'x' }, 'cursor'],
    [{ field: 'v', limit: '0' }, 'limit'],
  ])('is refused for %j', async (query, path) => {
    await device({ site: 'refused' }, [1, { v: 1 }])
    const answer = await read(query)
    expect([answer.status, answer.json.error.details[0].path]).toEqual([422, path])
  })
})
