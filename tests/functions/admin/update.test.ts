import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { type RecordingBroker, startRecordingBroker } from '../../support/recording-broker.ts'
import { itIsForAdminsOnly, itNeedsAKnownDevice } from './refusals.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')

let functions: TestFunctions
let broker: RecordingBroker
beforeAll(async () => {
  vi.setSystemTime(noon)
  broker = await startRecordingBroker()
  functions = await openFunctions({}, broker.iot)
})
beforeEach(() => {
  vi.setSystemTime(noon)
  broker.clear()
})
afterAll(async () => {
  await functions.close()
  await broker.close()
  vi.useRealTimers()
})

const update = (id: number | string, options: CallOptions) =>
  functions.call('admin-update', 'PUT', `/api/v1/admin/devices/${id}`, options)

const change = (id: number | string, body: unknown) => update(id, { admin: true, body })

const deviceOf = async (id: number) =>
  (await functions.call('admin-show', 'GET', `/api/v1/admin/devices/${id}`, { admin: true })).json.device

const eventsOf = async (id: number) =>
  (await functions.call('admin-events', 'GET', `/api/v1/admin/devices/${id}/events`, { admin: true })).json
    .events

describe('an update by the admin', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => update((await functions.register()).id, { body: { location: 'Roof' }, ...options }),
  )
  itNeedsAKnownDevice((id) => change(id, { location: 'Roof' }))

  it('changes every field that a registration takes, and answers with the device', async () => {
    const { id } = await functions.register()
    vi.setSystemTime(noon + 1500)
    const fields = {
      name: 'boiler',
      device_type: 'heater',
      description: 'Line 1\nLine 2',
      location: 'Cellar',
      timezone: 'Europe/Berlin',
      firmware_version: '2.0',
      hardware_version: 'B',
      status: 'maintenance',
      offline_after_s: 10,
      labels: { site: 'north', 'rack/unit': '7' },
    }
    const answer = await change(id, fields)
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      message: 'Device updated successfully',
      device: {
        id,
        ...fields,
        created_at: '2026-03-01T12:00:00Z',
        updated_at: '2026-03-01T12:00:01.500Z',
        last_seen: null,
        is_online: false,
      },
    })
    expect(await deviceOf(id)).toMatchObject(fields)
  })

  it('keeps the fields that are not named, and clears those that are null', async () => {
    const { id, name } = await functions.register({ location: 'Roof', firmware_version: '1.0' })
    await change(id, { location: null, unknown_field: 1 })
    expect(await deviceOf(id)).toMatchObject({ name, location: null, firmware_version: '1.0' })
  })

  it('writes one event for the fields and one for the status', async () => {
    const { id } = await functions.register()
    await change(id, { location: 'Roof', status: 'maintenance' })
    const timestamp = '2026-03-01T12:00:00Z'
    expect(await eventsOf(id)).toMatchObject([
      {
        event: 'status',
        type: 'device.status',
        timestamp,
        detail: { by: 'admin', from: 'active', to: 'maintenance' },
      },
      { event: 'updated', type: 'device.updated', timestamp, detail: { by: 'admin' } },
      { event: 'registered', type: 'device.registered', timestamp },
    ])
    expect((await eventsOf(id))[1].detail.fields).toContain('location')
  })

  it('with an empty object changes nothing and writes no event', async () => {
    const { id } = await functions.register()
    vi.setSystemTime(noon + 5000)
    expect((await change(id, {})).status).toBe(200)
    expect((await deviceOf(id)).updated_at).toBe('2026-03-01T12:00:00Z')
    expect(await eventsOf(id)).toHaveLength(1)
  })

  it('takes the default for offline_after_s when it is null', async () => {
    const { id } = await functions.register()
    expect((await change(id, { offline_after_s: 31_536_000 })).json.device.offline_after_s).toBe(31_536_000)
    expect((await change(id, { offline_after_s: null })).json.device.offline_after_s).toBe(300)
  })

  it('takes null for the time zone, which means UTC', async () => {
    const { id } = await functions.register({ timezone: 'Asia/Kolkata' })
    expect((await change(id, {})).json.device.timezone).toBe('Asia/Kolkata')
    expect((await change(id, { timezone: null })).json.device.timezone).toBe(null)
  })

  it('merges labels, and null removes one or all', async () => {
    const { id } = await functions.register({ labels: { site: 'north', floor: '2' } })
    const labelsAfter = async (labels: unknown) => (await change(id, { labels })).json.device.labels
    expect(await labelsAfter({ floor: '3', 'a.b_c-d': '' })).toEqual({
      site: 'north',
      floor: '3',
      'a.b_c-d': '',
    })
    expect(await labelsAfter({ floor: null, absent: null })).toEqual({ site: 'north', 'a.b_c-d': '' })
    expect((await eventsOf(id))[0]).toMatchObject({ event: 'updated', detail: { fields: ['labels'] } })
    expect((await change(id, { location: 'Roof' })).json.device.labels).toEqual({
      site: 'north',
      'a.b_c-d': '',
    })
    expect(await labelsAfter(null)).toEqual({})
    expect((await deviceOf(id)).labels).toEqual({})
  })

  it('loses no label when several change them at the same time', async () => {
    const { id } = await functions.register({ labels: { first: '1' } })
    await Promise.all(Array.from({ length: 20 }, (_, n) => change(id, { labels: { [`k${n}`]: 'v' } })))
    expect(Object.keys((await deviceOf(id)).labels)).toHaveLength(21)
  })

  it('keeps what was there when it would make more than 32 labels', async () => {
    const many = (from: number, count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${from + n}`, 'v']))
    const { id } = await functions.register({ labels: many(0, 31) })
    const answer = await change(id, { location: 'Roof', labels: many(31, 2) })
    expect([answer.status, answer.json.error.details]).toEqual([
      422,
      [{ path: 'labels', message: 'would be more than 32' }],
    ])
    expect(await deviceOf(id)).toMatchObject({ location: null, labels: many(0, 31) })
    expect((await change(id, { labels: { ...many(31, 2), k0: null } })).status).toBe(200)
    expect((await change(999_999, { labels: { a: 'b' } })).status).toBe(404)
  })

  it('refuses the name of another device and leaves both as they are', async () => {
    const taken = await functions.register()
    const { id, name } = await functions.register()
    const answer = await change(id, { name: taken.name, location: 'Roof' })
    expect([answer.status, answer.json.error]).toMatchObject([
      409,
      { code: 'CONFLICT', details: [{ path: 'name', message: 'is taken' }] },
    ])
    expect(await deviceOf(id)).toMatchObject({ name, location: null })
  })

  it('to inactive ends the MQTT sessions of the device, other changes end none', async () => {
    const { id } = await functions.register()
    await change(id, { location: 'Roof' })
    await change(id, { status: 'maintenance' })
    expect(broker.ended).toEqual([])
    await change(id, { status: 'inactive' })
    expect(broker.ended).toEqual([String(id)])
  })

  it.each<[string, unknown, number, string[]]>([
    ['no body', undefined, 400, []],
    ['broken JSON', '{', 400, []],
    ['a list', [], 422, ['']],
    ['an empty name', { name: ' ' }, 422, ['name']],
    ['a name of 129 characters', { name: 'x'.repeat(129) }, 422, ['name']],
    ['a control character in the name', { name: 'a\u0000b' }, 422, ['name']],
    ['the type null', { device_type: null }, 422, ['device_type']],
    ['an unknown time zone', { timezone: 'Europe/Atlantis' }, 422, ['timezone']],
    ['an offset as time zone', { timezone: '+01:00' }, 422, ['timezone']],
    ['an empty time zone', { timezone: '' }, 422, ['timezone']],
    ['an unknown status', { status: 'asleep' }, 422, ['status']],
    ['a list of labels', { labels: ['a'] }, 422, ['labels']],
    ['a number as label', { labels: { floor: 2 } }, 422, ['labels.floor']],
    ['a label with a blank', { labels: { site: 'far north' } }, 422, ['labels.site']],
    ['a label of 64 characters', { labels: { site: 'x'.repeat(64) } }, 422, ['labels.site']],
    ['a key with a sign at its end', { labels: { 'site-': 'x' } }, 422, ['labels.site-']],
    ['the key __proto__', '{"labels":{"__proto__":"x"}}', 422, ['labels.__proto__']],
    ['an offline time of 0', { offline_after_s: 0 }, 422, ['offline_after_s']],
    ['an offline time above a year', { offline_after_s: 31_536_001 }, 422, ['offline_after_s']],
    ['an offline time with a fraction', { offline_after_s: 1.5 }, 422, ['offline_after_s']],
    ['several bad fields', { name: 1, location: 2, status: 3 }, 422, ['location', 'name', 'status']],
  ])('refuses %s and names the fields', async (_what, body, status, paths) => {
    const { id } = await functions.register()
    const answer = await change(id, body)
    const named = (answer.json.error.details ?? []).map(({ path }: { path: string }) => path)
    expect([answer.status, named.sort()]).toEqual([status, paths])
    expect(await eventsOf(id)).toHaveLength(1)
  })

  it('refuses a body that is no JSON with 415', async () => {
    const { id } = await functions.register()
    const headers = { 'Content-Type': 'text/plain' }
    const answer = await update(id, { admin: true, body: 'location=Roof', headers })
    expect([answer.status, answer.json.error.code]).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE'])
  })
})
