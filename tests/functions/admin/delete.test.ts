import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { connect } from '../../support/presence-events.ts'
import { type RecordingBroker, startRecordingBroker } from '../../support/recording-broker.ts'
import { itIsForAdminsOnly, itNeedsAKnownDevice } from './refusals.ts'

let functions: TestFunctions
let broker: RecordingBroker
beforeAll(async () => {
  vi.setSystemTime(Date.parse('2026-03-01T12:00:00Z'))
  broker = await startRecordingBroker()
  functions = await openFunctions({}, broker.iot)
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

const remove = (id: number | string, query = '', options: CallOptions = { admin: true }) =>
  functions.call('admin-delete', 'DELETE', `/api/v1/admin/devices/${id}${query}`, options)

const admin = (name: string, path: string) => functions.call(name, 'GET', path, { admin: true })

const send = (key: string, t: number) =>
  functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', { key, body: { data: { t } } })

describe('a deletion', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => remove((await functions.register()).id, '', options),
  )
  itNeedsAKnownDevice((id) => remove(id))

  it('answers with the device that is gone', async () => {
    const { id, name } = await functions.register()
    const answer = await remove(id)
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      message: 'Device deleted successfully',
      device_id: id,
      device_name: name,
      telemetry_deleted: false,
      sessions_ended: 0,
    })
  })

  it('leaves nothing of the device in the registry, and answers 404 the second time', async () => {
    const { id, key, name } = await functions.register()
    await remove(id)
    expect((await functions.call('devices-status', 'GET', '/api/v1/devices/status', { key })).status).toBe(
      401,
    )
    for (const [functionName, path] of [
      ['admin-show', ''],
      ['admin-events', '/events'],
      ['admin-configuration', '/config'],
    ] as const)
      expect((await admin(functionName, `/api/v1/admin/devices/${id}${path}`)).status).toBe(404)
    expect((await remove(id)).status).toBe(404)
    expect((await admin('admin-list', `/api/v1/admin/devices?q=${name}`)).json.total_devices).toBe(0)
  })

  it('never gives the id to another device, and frees the name', async () => {
    const { id, name } = await functions.register({ name: 'replaced' })
    await remove(id)
    const next = await functions.register({ name })
    expect(next.id).toBeGreaterThan(id)
  })

  it('leaves other devices with their keys and readings', async () => {
    const { id } = await functions.register()
    const other = await functions.register()
    await send(other.key, 1)
    await remove(id, '?telemetry=true')
    const { json } = await admin('telemetry-history', `/api/v1/telemetry/${other.id}`)
    expect(json.data).toMatchObject([{ t: 1 }])
  })

  it('deletes the readings only when it is asked to', async () => {
    const [kept, gone] = [await functions.register(), await functions.register()]
    await send(kept.key, 1)
    await send(gone.key, 1)
    /** Devices with readings; the clock moves on, since the answer is kept for 15 s. */
    const withReadings = async (): Promise<number> => {
      vi.setSystemTime(Date.now() + 15_000)
      const { json } = await functions.call('telemetry-status', 'GET', '/api/v1/telemetry/status')
      return json.devices_with_telemetry
    }
    const before = await withReadings()
    expect((await remove(kept.id, '?telemetry=false')).json.telemetry_deleted).toBe(false)
    expect(await withReadings()).toBe(before)
    expect((await remove(gone.id, '?telemetry=true')).json.telemetry_deleted).toBe(true)
    expect(await withReadings()).toBe(before - 1)
  })

  describe('of a device whose telemetry stays', () => {
    const deleted = async (query = '') =>
      (await admin('admin-list', `/api/v1/admin/devices?deleted=true${query}`)).json
    const idsOf = async (query = ''): Promise<number[]> =>
      (await deleted(query)).devices.map(({ id }: { id: number }) => id)
    const withReading = async (fields: Record<string, unknown> = {}) => {
      const device = await functions.register(fields)
      await send(device.key, 1)
      return device
    }
    const range = 'start_time=-30d&stop_time=-0s'

    it('lets operators read it under the old id, and nobody else', async () => {
      const { id, name } = await withReading({ device_type: 'pump' })
      const other = await functions.register()
      await remove(id)
      const answers: Record<string, unknown> = {}
      for (const [name, path] of [
        ['telemetry-history', ''],
        ['telemetry-latest', '/latest'],
        ['telemetry-aggregated', '/aggregated?field=t&aggregation=sum'],
      ] as const) {
        const at = `/api/v1/telemetry/${id}${path}`
        const answer = await admin(name, at)
        expect([name, answer.status]).toEqual([name, 200])
        answers[name] = answer.json
        for (const options of [{}, { key: other.key }])
          expect((await functions.call(name, 'GET', at, options)).status).toBe(404)
      }
      const about = { device_id: id, device_name: name, device_type: 'pump' }
      expect(answers).toMatchObject({
        'telemetry-history': { ...about, data: [{ t: 1 }] },
        'telemetry-latest': { ...about, latest_data: { t: 1 } },
        'telemetry-aggregated': { ...about, data: [{ value: 1 }] },
      })
    })

    it('lists it among the deleted ones until its last reading is deleted', async () => {
      const { id, name } = await withReading({
        name: 'ÜBERGABE',
        device_type: 'gone',
        timezone: 'Asia/Tokyo',
      })
      await remove(id)
      expect(await deleted('&device_type=gone')).toEqual({
        status: 'success',
        total_devices: 1,
        devices: [
          {
            id,
            name,
            device_type: 'gone',
            timezone: 'Asia/Tokyo',
            deleted_at: new Date().toISOString().replace('.000', ''),
          },
        ],
      })
      expect(await idsOf('&q=übergabe')).toEqual([id])
      expect(await idsOf('&q=nothing')).toEqual([])
      expect(await admin('admin-list', '/api/v1/admin/devices?device_type=gone')).toMatchObject({
        json: { total_devices: 0 },
      })
      const gone = (query: string) =>
        functions.call('telemetry-remove', 'DELETE', `/api/v1/telemetry/${id}?${query}`, { admin: true })
      expect((await gone('start_time=-30d&stop_time=-20d')).status).toBe(200)
      expect(await idsOf('&device_type=gone')).toEqual([id])
      expect(
        (await gone(`start_time=-30d&stop_time=${new Date(Date.now() + 1000).toISOString()}`)).status,
      ).toBe(200)
      expect(await idsOf('&device_type=gone')).toEqual([])
      expect((await gone(range)).status).toBe(404)
    })

    it('lists those in pages', async () => {
      const ids: number[] = []
      for (let n = 0; n < 3; n += 1) ids.push((await withReading({ device_type: 'paged' })).id)
      for (const id of ids) await remove(id)
      const first = await deleted('&device_type=paged&limit=2')
      expect([first.total_devices, first.devices.length, first.next_cursor]).toEqual([3, 2, String(ids[1])])
      expect(await idsOf(`&device_type=paged&limit=2&cursor=${first.next_cursor}`)).toEqual([ids[2]])
    })

    it('leaves no id behind without a reading, or when the readings go too', async () => {
      const silent = await functions.register({ device_type: 'silent' })
      const cleared = await withReading({ device_type: 'silent' })
      await remove(silent.id)
      await remove(cleared.id, '?telemetry=true')
      expect(await idsOf('&device_type=silent')).toEqual([])
      expect((await admin('telemetry-history', `/api/v1/telemetry/${cleared.id}`)).status).toBe(404)
    })

    it('forgets the id when the readings are older than the retention', async () => {
      const { id } = await withReading({ device_type: 'old' })
      await remove(id)
      vi.setSystemTime(Date.now() + 30 * 86_400_000)
      await functions.invoke('system-retention', {})
      expect(await idsOf('&device_type=old')).toEqual([id])
      vi.setSystemTime(Date.now() + 86_400_001)
      await functions.invoke('system-retention', {})
      expect(await idsOf('&device_type=old')).toEqual([])
    })
  })

  it('clears every retained message of the device at the broker', async () => {
    const { id } = await functions.register()
    await remove(id)
    const emptied = (topic: string) => ({
      topic: `iotflow/devices/${id}/${topic}`,
      payload: '',
      qos: 1,
      retain: true,
    })
    expect(broker.published).toEqual([
      emptied('config'),
      emptied('status'),
      emptied('status/online'),
      emptied('status/offline'),
      emptied('status/heartbeat'),
    ])
  })

  it('ends every MQTT connection of the device, and tells how many were open', async () => {
    const { id } = await functions.register()
    await functions.invoke('mqtt-presence', connect(id, `${id}-a`))
    await functions.invoke('mqtt-presence', connect(id, `${id}-b`))
    expect((await remove(id)).json.sessions_ended).toBe(2)
    expect([...broker.ended].sort()).toEqual([`${id}`, `${id}-a`, `${id}-b`])
  })

  it('lets the device connect no more while its connections are being ended', async () => {
    const { id, key } = await functions.register()
    const allowed: unknown[] = []
    broker.onEnd = async () => {
      const mqtt = {
        username: String(id),
        clientId: String(id),
        password: Buffer.from(key).toString('base64'),
      }
      allowed.push(await functions.invoke('mqtt-authorize', { protocols: ['mqtt'], protocolData: { mqtt } }))
    }
    await remove(id)
    expect(allowed).toMatchObject([{ isAuthenticated: false }])
  })

  it('succeeds although the broker is unavailable, and the answer says so with null', async () => {
    const { id } = await functions.register()
    broker.unavailable = true
    const answer = await remove(id)
    expect([answer.status, answer.json.sessions_ended]).toEqual([200, null])
    expect((await admin('admin-show', `/api/v1/admin/devices/${id}`)).status).toBe(404)
  })

  it.each(['yes', '1', 'TRUE'])('refuses ?telemetry=%s and keeps the device', async (value) => {
    const { id, key } = await functions.register()
    const answer = await remove(id, `?telemetry=${value}`)
    expect([answer.status, answer.json.error.details]).toEqual([
      422,
      [{ path: 'telemetry', message: 'must be true or false' }],
    ])
    expect((await functions.call('devices-status', 'GET', '/api/v1/devices/status', { key })).status).toBe(
      200,
    )
  })
})
