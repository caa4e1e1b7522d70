import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { connect } from '../../support/presence-events.ts'
import { type RecordingBroker, startRecordingBroker } from '../../support/recording-broker.ts'
import { itIsForAdminsOnly, itNeedsAKnownDevice } from './refusals.ts'

let functions: TestFunctions
let broker: RecordingBroker
/** What a broker in this process would tell. */
const mqttClients = new Map<number, ReadonlyMap<string, boolean>>()
beforeAll(async () => {
  vi.setSystemTime(Date.parse('2026-03-01T12:00:00Z'))
  broker = await startRecordingBroker()
  functions = await openFunctions({}, broker.iot, { mqttClients: (id) => mqttClients.get(id) })
})
beforeEach(() => {
  broker.clear()
  broker.unavailable = false
})
afterAll(async () => {
  await functions.close()
  await broker.close()
  vi.useRealTimers()
})

const setStatus = (id: number | string, options: CallOptions) =>
  functions.call('admin-set-status', 'PUT', `/api/v1/admin/devices/${id}/status`, options)

const become = (id: number | string, status: string) => setStatus(id, { admin: true, body: { status } })

const statusCode = async (key: string) =>
  (await functions.call('devices-status', 'GET', '/api/v1/devices/status', { key })).status

const eventsOf = async (id: number) =>
  (await functions.call('admin-events', 'GET', `/api/v1/admin/devices/${id}/events`, { admin: true })).json
    .events

describe('a status that the admin sets', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) =>
      setStatus((await functions.register()).id, { body: { status: 'maintenance' }, ...options }),
  )
  itNeedsAKnownDevice((id) => become(id, 'inactive'))

  it('is answered with the old and the new one', async () => {
    const { id } = await functions.register()
    const answer = await become(id, 'maintenance')
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      message: 'Device status updated successfully',
      device_id: id,
      old_status: 'active',
      new_status: 'maintenance',
      sessions_ended: 0,
    })
  })

  it('decides at once whether the key of the device is accepted', async () => {
    const { id, key } = await functions.register()
    await become(id, 'inactive')
    expect(await statusCode(key)).toBe(403)
    await become(id, 'active')
    expect(await statusCode(key)).toBe(200)
  })

  it('is written to the events, once for each change', async () => {
    const { id } = await functions.register()
    await become(id, 'inactive')
    expect((await become(id, 'inactive')).json).toMatchObject({
      old_status: 'inactive',
      new_status: 'inactive',
    })
    expect(await eventsOf(id)).toMatchObject([
      {
        event: 'status',
        type: 'device.status',
        timestamp: '2026-03-01T12:00:00Z',
        detail: { by: 'admin', from: 'active', to: 'inactive' },
      },
      { event: 'registered' },
    ])
  })

  it('ends every MQTT connection of an inactive device, and tells how many were open', async () => {
    const { id } = await functions.register()
    await functions.invoke('mqtt-presence', connect(id, `${id}-a`))
    await functions.invoke('mqtt-presence', connect(id, `${id}-b`))
    const answer = await become(id, 'inactive')
    expect(answer.json.sessions_ended).toBe(2)
    expect([...broker.ended].sort()).toEqual([`${id}`, `${id}-a`, `${id}-b`])
  })

  it('ends also clients that only the broker knows as yet', async () => {
    const { id } = await functions.register()
    mqttClients.set(id, new Map([[`${id}-new`, true]]))
    const answer = await become(id, 'inactive')
    expect(answer.json.sessions_ended).toBe(1)
    expect([...broker.ended].sort()).toEqual([`${id}`, `${id}-new`])
  })

  it('leaves the connections of a device that becomes active or goes into maintenance', async () => {
    const { id } = await functions.register()
    await functions.invoke('mqtt-presence', connect(id, `${id}-a`))
    for (const status of ['maintenance', 'active']) await become(id, status)
    expect(broker.ended).toEqual([])
  })

  it('is set although the broker is unavailable, and the answer says so with null', async () => {
    const { id, key } = await functions.register()
    broker.unavailable = true
    const answer = await become(id, 'inactive')
    expect([answer.status, answer.json.sessions_ended]).toEqual([200, null])
    expect(await statusCode(key)).toBe(403)
  })

  it.each<[string, unknown, number, unknown]>([
    ['no body', undefined, 400, undefined],
    ['no status', {}, 422, [{ path: 'status', message: 'must be active, inactive or maintenance' }]],
    [
      'an unknown status',
      { status: 'Active' },
      422,
      [{ path: 'status', message: 'must be active, inactive or maintenance' }],
    ],
    ['a list', [], 422, [{ path: '', message: 'must be a JSON object' }]],
  ])('refuses %s', async (_what, body, code, details) => {
    const { id, key } = await functions.register()
    const answer = await setStatus(id, { admin: true, body })
    expect([answer.status, answer.json.error.details]).toEqual([code, details])
    expect(await statusCode(key)).toBe(200)
  })
})
