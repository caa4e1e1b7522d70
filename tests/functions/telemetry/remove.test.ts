import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly, itNeedsAKnownDevice } from '../admin/refusals.ts'

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(Date.parse('2026-03-01T12:00:00Z'))
  functions = await openFunctions()
})
afterAll(async () => {
  await functions.close()
  vi.useRealTimers()
})

const remove = (id: number | string, query: string, options: CallOptions = { admin: true }) =>
  functions.call('telemetry-remove', 'DELETE', `/api/v1/telemetry/${id}${query}`, options)

const range = { start_time: '2026-03-01T09:00:00Z', stop_time: '2026-03-01T10:00:00Z' }
const rangeQuery = `?${new URLSearchParams(range)}`

/** Registers a device with readings at 08:59:59, 09:00:00, 09:59:59 and 10:00:00: `t` is 0, 1, 2 and 3. */
const withReadings = async () => {
  const device = await functions.register()
  const body = ['08:59:59', '09:00:00', '09:59:59', '10:00:00'].map((time, t) => ({
    data: { t },
    timestamp: `2026-03-01T${time}Z`,
  }))
  await functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', { key: device.key, body })
  return device
}

const readings = async (id: number): Promise<number[]> => {
  const path = `/api/v1/telemetry/${id}?start_time=-30d&order=asc`
  const { json } = await functions.call('telemetry-history', 'GET', path, { admin: true })
  return json.data.map(({ t }: { t: number }) => t)
}

describe('a deletion of readings', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => remove((await functions.register()).id, rangeQuery, options),
  )
  itNeedsAKnownDevice((id) => remove(id, rangeQuery))

  it.each<[string, string, CallOptions]>([
    ['query', rangeQuery, { admin: true }],
    ['body', '', { admin: true, body: range }],
  ])('takes its range from the %s, and leaves the readings around it', async (_where, query, options) => {
    const { id } = await withReadings()
    const answer = await remove(id, query, options)
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      message: 'Telemetry deleted successfully',
      device_id: id,
      ...range,
    })
    expect(await readings(id)).toEqual([0, 3])
  })

  it('takes times relative to now', async () => {
    const { id } = await withReadings()
    const answer = await remove(id, '?start_time=-3h&stop_time=-2h')
    expect(answer.json).toMatchObject(range)
    expect(await readings(id)).toEqual([0, 3])
  })

  it('takes times without an offset in the zone of the query, or of the device', async () => {
    const { id } = await withReadings()
    const answer = await remove(
      id,
      '?start_time=2026-03-01T10:00:00&stop_time=2026-03-01T11:00:00&timezone=Europe/Berlin',
    )
    expect(answer.json).toMatchObject(range)
    expect(await readings(id)).toEqual([0, 3])
  })

  it('leaves the readings of other devices', async () => {
    const { id } = await withReadings()
    const other = await withReadings()
    await remove(id, rangeQuery)
    expect(await readings(other.id)).toEqual([0, 1, 2, 3])
  })

  it('does not lower the account: the readings were stored', async () => {
    const { id } = await withReadings()
    await remove(id, rangeQuery)
    const { json } = await functions.call('admin-show', 'GET', `/api/v1/admin/devices/${id}`, { admin: true })
    expect(json.accounting).toMatchObject({ received: 4, stored: 4 })
    expect(json.device.telemetry_count).toBe(2)
  })

  it.each<[string, string, unknown, number, string[]]>([
    ['no range', '', undefined, 422, ['start_time', 'stop_time']],
    ['no end in the query', '?start_time=-1h', undefined, 422, ['stop_time']],
    ['no begin in the body', '', { stop_time: '-1h' }, 422, ['start_time']],
    ['a body and half a range in it', rangeQuery, { start_time: '-1h' }, 422, ['stop_time']],
    ['a time that is none', '?start_time=once&stop_time=-1h', undefined, 422, ['start_time']],
    ['a number in the body', '', { ...range, start_time: 0 }, 422, ['start_time']],
    ['a list', '', [], 422, ['']],
    ['broken JSON', '', '{', 400, []],
  ])('refuses %s and deletes nothing', async (_what, query, body, code, paths) => {
    const { id } = await withReadings()
    const answer = await remove(id, query, { admin: true, body })
    const named = (answer.json.error.details ?? []).map(({ path }: { path: string }) => path)
    expect([answer.status, named.sort()]).toEqual([code, paths])
    expect(await readings(id)).toEqual([0, 1, 2, 3])
  })
})
