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

const history = (id: number | string, query = '', options: CallOptions = { admin: true }) =>
  functions.call('telemetry-history', 'GET', `/api/v1/telemetry/${id}${query}`, options)

const send = async (key: string, body: unknown) => {
  const answer = await functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', { key, body })
  expect([answer.status, answer.json.rejected]).toEqual([201, []])
}

/** Registers a device and stores one reading `{t: index, h: 50}` for each of these times of the day. */
const withReadings = async (...times: string[]) => {
  const device = await functions.register()
  await send(
    device.key,
    times.map((time, t) => ({ data: { t, h: 50 }, timestamp: `2026-03-01T${time}Z` })),
  )
  return device
}

const valuesOf = (json: { data: { t: number }[] }) => json.data.map(({ t }) => t)

describe('the history of a device', () => {
  itIsForReaders(
    () => functions,
    (id, options) => history(id, '', options),
  )

  it('shows the readings of the last hour, newest first', async () => {
    const { id, name } = await withReadings('10:59:59.999', '11:00:00', '11:30:00.000000001')
    const answer = await history(id)
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      device_id: id,
      device_name: name,
      device_type: 'sensor',
      start_time: '2026-03-01T11:00:00Z',
      data: [
        { timestamp: '2026-03-01T11:30:00.000000001Z', t: 2, h: 50 },
        { timestamp: '2026-03-01T11:00:00Z', t: 1, h: 50 },
      ],
      count: 2,
    })
  })

  it('takes times without an offset in the zone of the query, else of the device', async () => {
    const { id } = await withReadings('10:00:00', '11:00:00')
    const ask = 'start_time=2026-03-01T11:00:00&end_time=2026-03-01T12:00:00'
    expect(valuesOf((await history(id, `?${ask}`)).json)).toEqual([1])
    expect(valuesOf((await history(id, `?${ask}&timezone=Europe/Berlin`)).json)).toEqual([0])
    const berlin = await functions.register({ timezone: 'Europe/Berlin' })
    expect((await history(berlin.id, `?${ask}`)).json.start_time).toBe('2026-03-01T10:00:00Z')
  })

  it('shows the metadata of a reading, and only where it has any', async () => {
    const { id, key } = await functions.register()
    await send(key, { data: { t: 1 }, metadata: { site: 'north' } })
    await send(key, { data: { t: 2 }, timestamp: '2026-03-01T11:30:00Z' })
    const { data } = (await history(id)).json
    expect(data[0].metadata).toEqual({ site: 'north' })
    expect(Object.keys(data[1]).sort()).toEqual(['t', 'timestamp'])
  })

  it('is empty for a device without readings', async () => {
    const { id } = await functions.register()
    expect((await history(id)).json).toMatchObject({ data: [], count: 0 })
  })

  it.each([
    ['start_time=2026-03-01T09:00:00Z', [3, 2, 1]],
    ['start_time=2026-03-01T08:00:00Z&end_time=2026-03-01T10:00:00Z', [1, 0]],
    ['start_time=-4h&order=asc', [0, 1, 2, 3]],
    ['start_time=-4h&limit=2', [3, 2]],
    ['start_time=-4h&limit=2&order=asc', [0, 1]],
    ['start_time=1772359200', [3, 2]],
    ['start_time=2026-03-01T10:00:00&end_time=&limit=', [3, 2]],
    ['start_time=2026-03-01T12:00:00Z&end_time=2026-03-01T09:00:00Z', []],
  ])('answers ?%s', async (query, values) => {
    const { id } = await withReadings('08:00:00', '09:00:00', '10:00:00', '11:00:00')
    expect(valuesOf((await history(id, `?${query}`)).json)).toEqual(values)
  })

  it('shows only the named fields, and only readings that have one of them', async () => {
    const { id, key } = await functions.register()
    await send(key, [
      { data: { a: 1, b: 1 }, timestamp: '2026-03-01T11:10:00Z' },
      { data: { c: 2 }, timestamp: '2026-03-01T11:20:00Z' },
      { data: { b: 3 }, timestamp: '2026-03-01T11:30:00Z' },
    ])
    expect((await history(id, '?fields=a,b')).json.data).toEqual([
      { timestamp: '2026-03-01T11:30:00Z', b: 3 },
      { timestamp: '2026-03-01T11:10:00Z', a: 1, b: 1 },
    ])
  })

  it.each(['asc', 'desc'])('comes in pages in %sending order, each reading once', async (order) => {
    const { id } = await withReadings('11:01:00', '11:02:00', '11:03:00', '11:04:00', '11:05:00')
    const seen: number[] = []
    let cursor = ''
    for (let pages = 0; pages < 4; pages += 1) {
      const { json } = await history(id, `?limit=2&order=${order}&cursor=${cursor}`)
      seen.push(...valuesOf(json))
      if (json.next_cursor === undefined) break
      cursor = json.next_cursor
    }
    expect(seen).toEqual(order === 'asc' ? [0, 1, 2, 3, 4] : [4, 3, 2, 1, 0])
  })

  it('ends an answer before 4 MB and continues it with the cursor', async () => {
    const { id, key } = await functions.register()
    const text = 'x'.repeat(4000)
    for (let batch = 0; batch < 5; batch += 1)
      await send(
        key,
        Array.from({ length: 250 }, (_, n) => ({
          data: { text },
          timestamp: 1_772_363_000 + batch * 250 + n,
        })),
      )
    const first = await history(id, '?limit=10000')
    const second = await history(id, `?limit=10000&cursor=${first.json.next_cursor}`)
    expect(Buffer.byteLength(first.text)).toBeLessThan(4 * 1024 * 1024 + 1000)
    expect(first.json.count).toBeGreaterThan(1000)
    expect(first.json.count + second.json.count).toBe(1250)
    expect(second.json.next_cursor).toBeUndefined()
  })

  it('is CSV for format=csv, with a column for every field', async () => {
    const { id, key } = await functions.register()
    await send(key, [
      { data: { b: 'say "hi", twice', a: 1 }, timestamp: '2026-03-01T11:10:00Z' },
      { data: { c: true }, metadata: { site: 'north' }, timestamp: '2026-03-01T11:20:00Z' },
    ])
    const answer = await history(id, '?format=csv')
    expect(answer.headers.get('content-type')).toBe('text/csv; charset=utf-8')
    expect(answer.text.split('\r\n')).toEqual([
      'timestamp,a,b,c,metadata',
      '2026-03-01T11:20:00Z,,,true,"{""site"":""north""}"',
      '2026-03-01T11:10:00Z,1,"say ""hi"", twice",,',
      '',
    ])
  })

  it('is one JSON object per line for format=ndjson', async () => {
    const { id } = await withReadings('11:10:00', '11:20:00')
    const answer = await history(id, '?format=ndjson')
    expect(answer.headers.get('content-type')).toBe('application/x-ndjson')
    expect(answer.text).toBe(
      '{"timestamp":"2026-03-01T11:20:00Z","h":50,"t":1}\n{"timestamp":"2026-03-01T11:10:00Z","h":50,"t":0}\n',
    )
  })

  it.each(['csv', 'ndjson'])(
    'gives the cursor of a page as %s in the header X-Next-Cursor',
    async (format) => {
      const { id } = await withReadings('11:10:00', '11:20:00', '11:30:00')
      const first = await history(id, `?format=${format}&limit=2`)
      const cursor = first.headers.get('x-next-cursor')
      expect(first.text).toContain('11:20:00')
      const rest = await history(id, `?format=${format}&limit=2&cursor=${cursor}`)
      expect(rest.text).toContain('11:10:00')
      expect([rest.text.includes('11:20:00'), rest.headers.has('x-next-cursor')]).toEqual([false, false])
    },
  )

  it('lowers a limit above 10000 instead of refusing it', async () => {
    const { id } = await withReadings('11:10:00')
    expect((await history(id, '?limit=10001')).json.count).toBe(1)
  })

  it.each([
    ['limit=0', ['limit']],
    ['limit=-5', ['limit']],
    ['limit=ten', ['limit']],
    ['order=up', ['order']],
    ['format=xml', ['format']],
    ['cursor=abc', ['cursor']],
    ['start_time=yesterday', ['start_time']],
    ['end_time=2026-02-30', ['end_time']],
    ['start_time=x&limit=0', ['limit', 'start_time']],
  ])('answers 422 for ?%s and names the parameters', async (query, paths) => {
    const { id } = await functions.register()
    const answer = await history(id, `?${query}`)
    const named = answer.json.error.details.map(({ path }: { path: string }) => path)
    expect([answer.status, answer.json.error.code, named.sort()]).toEqual([422, 'VALIDATION_FAILED', paths])
  })
})
