import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import * as runtime from '../../../lib/runtime.ts'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly, itNeedsAKnownDevice } from './refusals.ts'

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(Date.parse('2026-03-01T12:00:00.250Z'))
  functions = await openFunctions()
})
afterAll(async () => {
  await functions.close()
  vi.useRealTimers()
})

const events = (id: number | string, query = '', options: CallOptions = { admin: true }) =>
  functions.call('admin-events', 'GET', `/api/v1/admin/devices/${id}/events${query}`, options)

const setLocation = (id: number, location: string) =>
  functions.call('admin-update', 'PUT', `/api/v1/admin/devices/${id}`, { admin: true, body: { location } })

describe('the events of a device', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => events((await functions.register()).id, '', options),
  )
  itNeedsAKnownDevice((id) => events(id))

  it('begin with its registration', async () => {
    const { id } = await functions.register()
    const answer = await events(id)
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      device_id: id,
      events: [
        {
          event: 'registered',
          type: 'device.registered',
          timestamp: '2026-03-01T12:00:00.250Z',
          detail: null,
        },
      ],
    })
  })

  it('are its own, newest first', async () => {
    const { id } = await functions.register()
    const other = await functions.register()
    await functions.setStatus(id, 'maintenance')
    await setLocation(other.id, 'Roof')
    await setLocation(id, 'Cellar')
    const names = (await events(id)).json.events.map(({ event }: { event: string }) => event)
    expect(names).toEqual(['updated', 'status', 'registered'])
  })

  it('say how often an event came that repeats', async () => {
    const { id } = await functions.register()
    const devices = await runtime.devices()
    for (const path of ['ts', 'ts', 'time'])
      devices.noteRepeated({
        deviceId: id,
        kind: 'warning',
        key: 'CLOCK_WRONG 2026-03-01',
        detail: { code: 'CLOCK_WRONG', paths: [path] },
      })
    await devices.flush()
    expect((await events(id)).json.events[0]).toEqual({
      event: 'warning',
      type: 'device.warning',
      timestamp: '2026-03-01T12:00:00.250Z',
      count: 3,
      last_timestamp: '2026-03-01T12:00:00.250Z',
      detail: { code: 'CLOCK_WRONG', paths: ['ts', 'time'] },
    })
  })

  it('come in pages', async () => {
    const { id } = await functions.register()
    for (const status of ['maintenance', 'active', 'inactive', 'active'])
      await functions.setStatus(id, status)
    const first = (await events(id, '?limit=2')).json
    const second = (await events(id, `?limit=2&cursor=${first.next_cursor}`)).json
    const third = (await events(id, `?limit=2&cursor=${second.next_cursor}`)).json
    const shown = [first, second, third].map((page) =>
      page.events.map(({ detail }: { detail: { to: string } | null }) => detail?.to),
    )
    expect(shown).toEqual([['active', 'inactive'], ['active', 'maintenance'], [undefined]])
    expect(third.next_cursor).toBeUndefined()
  })

  it('are 100 to a page unless a limit is given', async () => {
    const { id } = await functions.register()
    for (let n = 0; n < 101; n += 1) await functions.setStatus(id, n % 2 === 0 ? 'maintenance' : 'active')
    expect((await events(id)).json.events).toHaveLength(100)
    expect((await events(id, '?limit=2000')).json.events).toHaveLength(102)
  })

  it.each([
    ['limit=0', 'limit'],
    ['limit=x', 'limit'],
    ['cursor=-1', 'cursor'],
  ])('answer 422 for ?%s', async (query, path) => {
    const { id } = await functions.register()
    const answer = await events(id, `?${query}`)
    expect([answer.status, answer.json.error.details[0].path]).toEqual([422, path])
  })
})
