import { setTimeout as sleep } from 'node:timers/promises'
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/backends.ts'
import { type Door, type DoorName, doors, type Settings } from '../support/doors.ts'
import { influxIsThere, influxSettings } from '../support/influxdb.ts'
import { hasMosquitto, startMosquitto } from '../support/mosquitto.ts'
import { findSqld } from '../support/sqld.ts'

/** Polls until the answer is as wanted: what goes through a broker takes its time. */
const eventually = async (check: () => Promise<void>, ms = 15_000) => {
  const deadline = Date.now() + ms
  for (;;) {
    try {
      return await check()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await sleep(50)
    }
  }
}

/** A broker beside the door, where there is one. */
interface Beside {
  readonly settings: Settings
  readonly mqttUrl: string
  end(): Promise<void>
}

const suite = (name: DoorName, settings: Settings = {}, openBeside?: () => Promise<Beside>) => {
  let beside: Beside | undefined
  let door: Door
  const clients: MqttClient[] = []
  /** Sessions that are known when one is open. */
  const told = openBeside ? 0 : 1
  let device: { id: number; api_key: string }
  const readings: { t: number; time: string }[] = []

  const call = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const response = await fetch(`${door.httpUrl}${path}`, {
      method,
      headers: { ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    // biome-ignore lint/suspicious/noExplicitAny: what came is what the suite is about.
    const json: any = text === '' ? undefined : JSON.parse(text)
    return { status: response.status, headers: response.headers, body: json }
  }
  const own = () => ({ 'X-API-Key': device.api_key })
  const admin = () => ({ Authorization: `Bearer ${door.adminToken}` })
  const connect = async (options: IClientOptions = {}) => {
    const client = await connectAsync(beside?.mqttUrl ?? door.mqttUrl, {
      protocolVersion: 4,
      reconnectPeriod: 0,
      clientId: `iotflow-device-${device.id}`,
      username: String(device.id),
      password: device.api_key,
      ...options,
    })
    client.on('error', () => {})
    clients.push(client)
    return client
  }

  beforeAll(async () => {
    beside = await openBeside?.()
    door = await doors[name]({ ...settings, ...beside?.settings })
  }, 120_000)
  afterAll(async () => {
    for (const client of clients) await client.endAsync(true)
    await door?.stop()
    await beside?.end()
  }, 30_000)

  it('registers a device, once', async () => {
    const body = { name: 'journey', device_type: 'sensor', location: 'Lab', firmware_version: '1.0' }
    const first = await call('POST', '/api/v1/devices/register', body)
    expect(first.status).toBe(201)
    device = first.body.device
    expect(first.body).toMatchObject({
      message: 'Device registered successfully',
      device: { name: 'journey', status: 'active', device_type: 'sensor', location: 'Lab', last_seen: null },
    })
    expect((await call('POST', '/api/v1/devices/register', body)).status).toBe(409)
  })

  it('tells where the broker is, and lets the device connect there', async () => {
    const { status, body } = await call('GET', '/api/v1/devices/mqtt-credentials', undefined, own())
    expect(status).toBe(200)
    expect(body.credentials).toMatchObject({
      username: String(device.id),
      client_id: `iotflow-device-${device.id}`,
    })
    expect(JSON.stringify(body)).not.toContain(device.api_key)
    const client = await connect()
    expect(client.connected).toBe(true)
    await expect(connect({ password: 'wrong-key-wrong-key-wrong' })).rejects.toThrow()
    // A Mosquitto does not tell who is connected: the device does.
    if (beside) await client.publishAsync(`iotflow/devices/${device.id}/status/online`, '{}', { qos: 1 })
    await eventually(async () => {
      const answer = await call('GET', '/api/v1/devices/status', undefined, own())
      expect(answer.body.device.is_online).toBe(true)
    })
  })

  it('takes telemetry over HTTP and MQTT and gives it back', async () => {
    const now = Date.now()
    for (const t of [1, 2, 3]) readings.push({ t, time: new Date(now - 10_000 + t * 1000).toISOString() })
    const [first, second, third] = readings
    const sent = await call(
      'POST',
      '/api/v1/devices/telemetry',
      { data: { t: first?.t, door: { open: true } }, metadata: { by: 'http' }, timestamp: first?.time },
      own(),
    )
    expect(sent.status).toBe(201)
    expect(sent.body).toMatchObject({ device_id: device.id, accepted: 1, rejected: [] })
    const batch = await call(
      'POST',
      '/api/v1/telemetry',
      [{ ts: Date.parse(second?.time ?? ''), values: { t: second?.t } }, { values: { t: [1] } }],
      own(),
    )
    expect(batch.status).toBe(201)
    expect(batch.body).toMatchObject({ accepted: 1, rejected: [{ index: 1, code: 'VALIDATION_FAILED' }] })
    await clients[0]?.publishAsync(
      `iotflow/devices/${device.id}/telemetry/sensors`,
      JSON.stringify({ t: third?.t, timestamp: third?.time }),
      { qos: 1 },
    )
    const read = () =>
      call('GET', `/api/v1/telemetry/${device.id}?start_time=-1h&order=asc`, undefined, own())
    // Acknowledged by a Mosquitto, it is on its way.
    if (beside) await eventually(async () => expect((await read()).body.count).toBe(3))
    const history = await read()
    expect(history.status).toBe(200)
    const shown = (time: string | undefined) => time?.replace('.000Z', 'Z')
    expect(history.body.data).toEqual([
      { timestamp: shown(first?.time), t: 1, 'door.open': true, metadata: { by: 'http' } },
      { timestamp: shown(second?.time), t: 2 },
      { timestamp: shown(third?.time), t: 3, metadata: { subtopic: 'sensors' } },
    ])
    const latest = await call('GET', `/api/v1/telemetry/${device.id}/latest`, undefined, own())
    expect(latest.body.latest_data).toEqual({ timestamp: shown(third?.time), t: 3, 'door.open': true })
    const sums = await call(
      'GET',
      `/api/v1/telemetry/${device.id}/aggregated?field=t&aggregation=sum&window=1d&start_time=-1h`,
      undefined,
      own(),
    )
    const values = sums.body.data as { value: number }[]
    expect(values.reduce((sum, { value }) => sum + value, 0)).toBe(6)
    const count = await call('GET', '/api/v1/devices/status', undefined, own())
    expect(count.body.device.telemetry_count).toBe(3)
  })

  it('pages through its own history', async () => {
    const seen: number[] = []
    let cursor: string | undefined
    do {
      const more = cursor === undefined ? '' : `&cursor=${cursor}`
      const { body } = await call('GET', `/api/v1/devices/telemetry?limit=1${more}`, undefined, own())
      for (const { t } of body.telemetry) seen.push(t)
      cursor = body.next_cursor
    } while (cursor !== undefined)
    expect(seen).toEqual([3, 2, 1])
  })

  it('configures the device: desired, published retained, reported', async () => {
    const path = `/api/v1/admin/devices/${device.id}/config`
    const set = await call('PUT', path, { configuration: { interval: 30, mode: 'eco' } }, admin())
    expect(set).toMatchObject({ status: 200, body: { version: 1, published: true } })
    expect(set.headers.get('etag')).toBe('"1"')
    const stale = await call(
      'PUT',
      path,
      { configuration: { interval: 5 } },
      { ...admin(), 'If-Match': '"0"' },
    )
    expect(stale).toMatchObject({ status: 412, body: { error: { code: 'PRECONDITION_FAILED' } } })
    const own1 = await call(
      'POST',
      '/api/v1/devices/config',
      { config_key: 'gain', config_value: '1.5', data_type: 'float' },
      own(),
    )
    expect(own1).toMatchObject({ status: 200, body: { config_value: 1.5, version: 2 } })
    const drop = await call('PUT', path, { configuration: { mode: null } }, { ...admin(), 'If-Match': '"2"' })
    expect(drop).toMatchObject({ status: 200, body: { version: 3 } })

    const client = clients[0] as MqttClient
    const got: unknown[] = []
    client.on('message', (_topic, payload) => got.push(JSON.parse(payload.toString())))
    await client.subscribeAsync(`iotflow/devices/${device.id}/config`, { qos: 1 })
    const wanted = { version: 3, configuration: { interval: 30, gain: 1.5 } }
    await eventually(async () => expect(got).toContainEqual(wanted))
    await client.publishAsync(`iotflow/devices/${device.id}/config/reported`, '{"version":3}', { qos: 1 })
    await eventually(async () => {
      const { body } = await call('GET', path, undefined, admin())
      expect(body).toMatchObject({ version: 3, reported_version: 3 })
    })
    const read = await call('GET', '/api/v1/devices/config', undefined, own())
    expect(read.body.configuration.gain).toMatchObject({ value: 1.5, data_type: 'float' })
    const unchanged = await call('GET', '/api/v1/devices/config', undefined, {
      ...own(),
      'If-None-Match': '"3"',
    })
    expect(unchanged.status).toBe(304)
  })

  it('lets the device say what it is, and the operator find it', async () => {
    const put = await call('PUT', '/api/v1/devices/config', { firmware_version: '1.1' }, own())
    expect(put.body.device).toMatchObject({ firmware_version: '1.1', location: 'Lab' })
    expect((await call('PUT', '/api/v1/devices/config', { status: 'inactive' }, own())).status).toBe(422)
    const list = await call('GET', '/api/v1/admin/devices?q=JOUR', undefined, admin())
    expect(list.body).toMatchObject({ total_devices: 1, devices: [{ id: device.id, is_online: true }] })
    const shown = await call('GET', `/api/v1/admin/devices/${device.id}`, undefined, admin())
    expect(shown.body.auth_records).toMatchObject([
      { key_prefix: device.api_key.slice(0, 6), is_active: true },
    ])
    const numbers = await call('GET', '/api/v1/admin/dashboard', undefined, admin())
    expect(numbers.body).toMatchObject({ devices: { total: 1, online: 1 }, messages: { last_hour: 3 } })
  })

  it('rotates the key: both work for a while, then the old one goes', async () => {
    const old = device.api_key
    // A Mosquitto ends the connections of an account by itself, and counts none.
    const rotated = await call('POST', '/api/v1/devices/rotate-key', { grace_s: 3600 }, own())
    expect(rotated.status).toBe(200)
    device = { ...device, api_key: rotated.body.api_key }
    expect(Date.parse(rotated.body.previous_key_expires_at)).toBeGreaterThan(Date.now())
    for (const key of [old, device.api_key])
      expect((await call('POST', '/api/v1/devices/heartbeat', undefined, { 'X-API-Key': key })).status).toBe(
        200,
      )
    const revoked = await call(
      'POST',
      `/api/v1/admin/devices/${device.id}/revoke-key`,
      { key_prefix: old.slice(0, 6) },
      admin(),
    )
    expect(revoked).toMatchObject({ status: 200, body: { revoked_keys: 1, sessions_ended: told } })
    expect((await call('POST', '/api/v1/devices/heartbeat', undefined, { 'X-API-Key': old })).status).toBe(
      401,
    )
    await eventually(async () => expect(clients[0]?.connected).toBe(false))
    await connect()
  })

  it('shuts an inactive device out at once, over HTTP and MQTT', async () => {
    const client = clients.at(-1) as MqttClient
    const path = `/api/v1/admin/devices/${device.id}/status`
    await eventually(async () => {
      const { body } = await call('GET', '/api/v1/admin/devices', undefined, admin())
      expect(body.devices[0].is_online).toBe(true)
    })
    const off = await call('PUT', path, { status: 'inactive' }, admin())
    expect(off.body).toMatchObject({ old_status: 'active', new_status: 'inactive', sessions_ended: told })
    expect((await call('POST', '/api/v1/devices/heartbeat', undefined, own())).status).toBe(403)
    await eventually(async () => expect(client.connected).toBe(false))
    await expect(connect()).rejects.toThrow()
    await call('PUT', path, { status: 'active' }, admin())
    expect((await call('POST', '/api/v1/devices/heartbeat', undefined, own())).status).toBe(200)
  })

  it('keeps what happened, with why', async () => {
    const { body } = await call('GET', `/api/v1/admin/devices/${device.id}/events`, undefined, admin())
    const kinds = body.events.map(({ event }: { event: string }) => event)
    for (const kind of [
      'registered',
      'online',
      'configuration',
      'configuration_reported',
      'updated',
      'key_rotated',
      'key_revoked',
      'status',
      ...(beside ? [] : ['offline']),
    ])
      expect(kinds).toContain(kind)
  })

  it('keeps what is no reading, for an operator to look at, try again and give up', async () => {
    const at = `/api/v1/admin/dead-letters`
    const client = await connect()
    for (const payload of ['{"t":', '{"data":{"t":[1]}}'])
      await client.publishAsync(`iotflow/devices/${device.id}/telemetry`, payload, { qos: 1 })
    const list = `${at}?device_id=${device.id}`
    await eventually(async () => {
      expect((await call('GET', list, undefined, admin())).body).toMatchObject({
        status: 'success',
        total: 2,
      })
    })
    const { body } = await call('GET', list, undefined, admin())
    const [refused, broken] = body.dead_letters
    const shown = await call('GET', `${at}/${broken.id}`, undefined, admin())
    expect(shown).toMatchObject({ status: 200, body: { dead_letter: { id: broken.id, payload: '{"t":' } } })
    expect((await call('POST', `${at}/${refused.id}/replay`, undefined, admin())).status).toBe(422)
    expect((await call('DELETE', `${at}/${broken.id}`, undefined, admin())).status).toBe(200)
    expect((await call('GET', `${at}/${broken.id}`, undefined, admin())).status).toBe(404)
    expect((await call('GET', list)).status).toBe(401)
  })

  it('is changed by an operator, and tells how it is', async () => {
    const path = `/api/v1/admin/devices/${device.id}`
    const changed = await call('PUT', path, { location: 'Roof', offline_after_s: 120 }, admin())
    expect(changed).toMatchObject({ status: 200, body: { device: { location: 'Roof' } } })
    const rotated = await call('POST', `${path}/rotate-key`, {}, admin())
    expect(rotated).toMatchObject({ status: 200, body: { device_id: device.id } })
    device.api_key = rotated.body.api_key
    expect((await call('GET', '/api/v1/devices/status', undefined, own())).status).toBe(200)
    expect((await call('GET', '/api/v1/telemetry/status')).body).toMatchObject({ status: 'healthy' })
    expect((await call('GET', '/api/v1/mqtt/status')).body.broker_info).toMatchObject({ connected: true })
    const document = await call('GET', '/openapi.json')
    expect(document).toMatchObject({ status: 200, body: { openapi: expect.stringMatching(/^3\.1/) } })
    const page = await fetch(`${door.httpUrl}/docs`)
    expect([page.status, page.headers.get('content-type')]).toEqual([
      200,
      expect.stringContaining('text/html'),
    ])
  })

  it('deletes a range of telemetry, then the device with all of it', async () => {
    const [first] = readings
    const range = {
      start_time: first?.time,
      stop_time: new Date(Date.parse(first?.time ?? '') + 1).toISOString(),
    }
    expect((await call('DELETE', `/api/v1/telemetry/${device.id}`, {}, admin())).status).toBe(422)
    expect((await call('DELETE', `/api/v1/telemetry/${device.id}`, range, admin())).status).toBe(200)
    const left = await call('GET', '/api/v1/devices/telemetry', undefined, own())
    expect(left.body.telemetry.map(({ t }: { t: number }) => t)).toEqual([3, 2])
    const gone = await call('DELETE', `/api/v1/admin/devices/${device.id}?telemetry=true`, undefined, admin())
    expect(gone).toMatchObject({ status: 200, body: { telemetry_deleted: true } })
    expect((await call('POST', '/api/v1/devices/heartbeat', undefined, own())).status).toBe(401)
    expect((await call('GET', `/api/v1/admin/devices/${device.id}`, undefined, admin())).status).toBe(404)
  })

  it('answers what is unknown in the one shape', async () => {
    const nowhere = await call('GET', '/api/v1/nowhere')
    expect(nowhere).toMatchObject({ status: 404, body: { error: { code: 'NOT_FOUND' } } })
    expect(nowhere.body.error.request_id).toBe(nowhere.headers.get('x-request-id'))
    const wrong = await call('PATCH', '/health')
    expect(wrong.status).toBe(405)
    expect(wrong.headers.get('allow')).toBe('GET')
    expect((await call('GET', '/health')).body.status).toBe('healthy')
  })
}

for (const name of Object.keys(doors) as DoorName[]) {
  const journey = `journey contract: ${name}`
  const sqld = name !== 'cloud bundles' || findSqld() !== undefined
  const INFLUXDB_BUCKET = `journey-${process.pid}-${name.replaceAll(' ', '-')}`
  describeWith({ sqld }, journey, () => suite(name))
  describeWith({ sqld, influxdb: influxIsThere }, `${journey}, InfluxDB`, () =>
    suite(name, { ...influxSettings, INFLUXDB_BUCKET }),
  )
}

const openMosquitto = async (): Promise<Beside> => {
  const { layer, url, end } = await startMosquitto()
  const settings = { MQTT_URL: layer.url, MQTT_USERNAME: layer.username, MQTT_PASSWORD: layer.password }
  return { settings: { ...settings, MQTT_PORT: new URL(url).port }, mqttUrl: url, end }
}
for (const name of ['npm start', 'npm run dev'] as const)
  describeWith({ mosquitto: hasMosquitto }, `journey contract: ${name}, Mosquitto`, () =>
    suite(name, {}, openMosquitto),
  )
