import { deflateSync, gzipSync } from 'node:zlib'
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { needsChromium } from '../dashboard/browser.ts'
import { expectDashboard } from '../dashboard/door.ts'
import { describeWith } from '../support/backends.ts'
import { type Deployment, type DeploymentName, deployments, type Settings } from '../support/deployments.ts'
import { influxIsThere, influxSettings } from '../support/influxdb.ts'
import { hasMosquitto, startMosquitto } from '../support/mosquitto.ts'
import { findSqld } from '../support/sqld.ts'
import { eventually } from '../support/waiting.ts'

/** The separate broker, where there is one. */
interface Beside {
  readonly settings: Settings
  readonly mqttUrl: string
  end(): Promise<void>
}

const suite = (name: DeploymentName, settings: Settings = {}, openBeside?: () => Promise<Beside>) => {
  let beside: Beside | undefined
  let deployment: Deployment
  const clients: MqttClient[] = []
  /** How many sessions the server knows while one is open. */
  const told = openBeside ? 0 : 1
  let device: { id: number; api_key: string }
  const readings: { t: number; time: string }[] = []

  const call = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const response = await fetch(`${deployment.httpUrl}${path}`, {
      method,
      headers: { ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    // biome-ignore lint/suspicious/noExplicitAny: the suite checks answers of any shape.
    const json: any = text === '' ? undefined : JSON.parse(text)
    return { status: response.status, headers: response.headers, body: json }
  }
  const own = () => ({ 'X-API-Key': device.api_key })
  const admin = () => ({ Authorization: `Bearer ${deployment.adminToken}` })
  const connect = async (options: IClientOptions = {}) => {
    const client = await connectAsync(beside?.mqttUrl ?? deployment.mqttUrl, {
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
    deployment = await deployments[name]({ ...settings, ...beside?.settings })
  })
  afterAll(async () => {
    for (const client of clients) await client.endAsync(true)
    await deployment?.stop()
    await beside?.end()
  })

  it('registers a device once', async () => {
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

  it('tells the address of the broker, and the device can connect there', async () => {
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
    // Mosquitto does not report connections, so the device publishes its status.
    if (beside) await client.publishAsync(`iotflow/devices/${device.id}/status/online`, '{}', { qos: 1 })
    await eventually(async () => {
      const answer = await call('GET', '/api/v1/devices/status', undefined, own())
      expect(answer.body.device.is_online).toBe(true)
    })
  })

  it('stores telemetry over HTTP and MQTT and answers with it', async () => {
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
      [{ ts: Date.parse(second?.time ?? ''), values: { t: second?.t } }, { values: { t: [] } }],
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
    // After the PUBACK of Mosquitto the message is still on its way to the store.
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

  it('answers the history of the device in pages', async () => {
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

  it('stores a configuration, publishes it retained, and notes the version that the device reports', async () => {
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

  it('updates the description of the device, and the operator finds it', async () => {
    const put = await call('PUT', '/api/v1/devices/config', { firmware_version: '1.1' }, own())
    expect(put.body.device).toMatchObject({ firmware_version: '1.1', location: 'Lab' })
    expect((await call('PUT', '/api/v1/devices/config', { status: 'inactive' }, own())).status).toBe(422)
    const list = await call('GET', '/api/v1/admin/devices?q=JOUR', undefined, admin())
    expect(list.body).toMatchObject({ total_devices: 1, devices: [{ id: device.id, is_online: true }] })
    const shown = await call('GET', `/api/v1/admin/devices/${device.id}`, undefined, admin())
    expect(shown.body.auth_records).toMatchObject([
      { key_prefix: device.api_key.slice(0, 6), is_active: true },
    ])
    // The numbers are counted anew some seconds after the readings.
    await eventually(async () => {
      const numbers = await call('GET', '/api/v1/admin/dashboard', undefined, admin())
      expect(numbers.body).toMatchObject({ devices: { total: 1, online: 1 }, messages: { last_hour: 3 } })
    })
  })

  it('rotates the key: both are valid for the grace time, then only the new one', async () => {
    const old = device.api_key
    // Mosquitto itself ends the connections of an account, and reports no number.
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

  it('refuses an inactive device at once, over HTTP and MQTT', async () => {
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

  it('lists the events of the device with their reasons', async () => {
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

  it('keeps a message that is no reading as a dead letter, which the operator can show, replay and discard', async () => {
    const at = `/api/v1/admin/dead-letters`
    const client = await connect()
    for (const payload of ['{"t":', '{"t":null}'])
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

  it('lets the operator change the device, and shows its state', async () => {
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
    const page = await fetch(`${deployment.httpUrl}/docs`)
    expect([page.status, page.headers.get('content-type')]).toEqual([
      200,
      expect.stringContaining('text/html'),
    ])
  })

  describeWith(needsChromium, 'the dashboard', () => {
    it('shows the operator every page', () => expectDashboard(deployment.httpUrl, deployment.adminToken))
  })

  it('deletes a range of telemetry, then the device with all its telemetry', async () => {
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

  it('answers a path with slashes at its end as the path without, and HEAD as GET', async () => {
    const answers = async (method: string, path: string, headers: Record<string, string> = {}) => {
      const { status, headers: answered, body } = await call(method, path, undefined, headers)
      return {
        status,
        type: answered.get('content-type'),
        etag: answered.get('etag'),
        allow: answered.get('allow'),
        code: body?.error?.code,
      }
    }
    const addresses: [string, string, Record<string, string>][] = [
      ['GET', '/health', {}],
      ['GET', '/openapi.json', {}],
      ['GET', '/api/v1/admin/devices?limit=1', admin()],
      ['GET', '/api/v1/admin/devices', {}],
      ['GET', '/api/v1/telemetry/999999/latest', {}],
      ['POST', '/api/v1/devices/heartbeat', {}],
      ['PATCH', '/health', {}],
      ['DELETE', '/api/v1/devices/heartbeat', {}],
      ['GET', '/api/v1/nowhere', {}],
    ]
    for (const [method, path, headers] of addresses) {
      const plain = await answers(method, path, headers)
      for (const end of ['/', '//']) {
        const slashed = path.includes('?') ? path.replace('?', `${end}?`) : path + end
        expect([slashed, await answers(method, slashed, headers)]).toEqual([slashed, plain])
      }
      if (method !== 'GET') continue
      for (const headed of [path, path.replace(/(?=\?|$)/, '/')]) {
        const { code: _, ...head } = plain
        expect([headed, await answers('HEAD', headed, headers)]).toEqual([
          headed,
          { ...head, code: undefined },
        ])
      }
    }
    expect((await answers('HEAD', '/api/v1/devices/heartbeat')).status).toBe(405)
  })

  it('reads compressed bodies, and refuses those that become too large or are of another encoding', async () => {
    const send = async (encoding: string, body: Uint8Array, type = 'application/json') => {
      const response = await fetch(`${deployment.httpUrl}/api/v1/devices/register`, {
        method: 'POST',
        headers: { 'Content-Type': type, 'Content-Encoding': encoding },
        body: new Uint8Array(body),
      })
      const answer = (await response.json()) as { device?: { name: string }; error?: { code: string } }
      return {
        status: response.status,
        name: answer.device?.name,
        code: answer.error?.code,
        accepts: response.headers.get('accept-encoding'),
      }
    }
    const text = (name: string) => Buffer.from(JSON.stringify({ name, device_type: 'sensor' }))
    const accepts = null
    expect(await send('gzip', gzipSync(text('Käse'.repeat(20))))).toMatchObject({ status: 201, accepts })
    expect(await send('deflate', deflateSync(text('温度')))).toMatchObject({ status: 201, name: '温度' })
    expect(await send('gzip', gzipSync(Buffer.alloc(64 * 1024 * 1024)))).toMatchObject({
      status: 413,
      code: 'PAYLOAD_TOO_LARGE',
    })
    expect(await send('gzip', text('a'))).toMatchObject({ status: 400, code: 'BAD_REQUEST' })
    expect(await send('br', text('a'))).toMatchObject({
      status: 415,
      code: 'UNSUPPORTED_MEDIA_TYPE',
      accepts: 'gzip, deflate',
    })
    for (const type of ['json', 'text/plain', 'multipart/form-data; boundary=x'])
      expect(await send('identity', text('a'), type)).toMatchObject({ status: 415 })
    const cookies = { Cookie: 'a={"b; =c', ...admin() }
    expect((await call('GET', '/api/v1/admin/devices', undefined, cookies)).status).toBe(200)
    const nothing = await call('POST', '/api/v1/devices/register', null)
    expect(nothing).toMatchObject({ status: 422, body: { error: { code: 'VALIDATION_FAILED' } } })
  })

  it('stores telemetry from the bytes that were sent, and says what it could not read', async () => {
    const made = await call('POST', '/api/v1/devices/register', { name: 'bytes', device_type: 'sensor' })
    const { id, api_key: key } = made.body.device
    const send = async (body: Uint8Array, headers: Record<string, string> = {}) => {
      const response = await fetch(`${deployment.httpUrl}/api/v1/devices/telemetry`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'X-API-Key': key, ...headers },
        body: new Uint8Array(body),
      })
      const { warnings, error } = (await response.json()) as {
        warnings?: { code: string }[]
        error?: { code: string }
      }
      return [response.status, error?.code ?? warnings?.map(({ code }) => code)]
    }
    const latest = async () => {
      const { body } = await call('GET', `/api/v1/telemetry/${id}/latest`, undefined, { 'X-API-Key': key })
      const { timestamp: _, ...fields } = body.latest_data
      return fields
    }
    const latin = (text: string) => Buffer.from(text, 'latin1')
    expect(await send(latin('{"unit":"\xb0C","t":21}'))).toEqual([201, ['INVALID_UTF8']])
    expect(await latest()).toEqual({ unit: '\ufffdC', t: 21 })
    expect(await send(latin('\xef\xbb\xbf{"t":22}\0\0\0'))).toEqual([201, undefined])
    expect(await send(gzipSync('{"t":23,"place":"Küche"}'), { 'Content-Encoding': 'gzip' })).toEqual([
      201,
      undefined,
    ])
    expect(await latest()).toEqual({ unit: '\ufffdC', t: 23, place: 'Küche' })
    const pack = Buffer.from('[{"n":"h","v":40}]')
    expect(await send(pack, { 'Content-Type': 'application/senml+json' })).toEqual([201, undefined])
    expect(await latest()).toMatchObject({ h: 40 })
    for (const type of ['application/vnd.api+json', 'text/plain'])
      expect(await send(latin('{"t":1}'), { 'Content-Type': type })).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE'])
    expect(await send(latin('{"t":1}'), { 'Content-Encoding': 'br' })).toEqual([
      415,
      'UNSUPPORTED_MEDIA_TYPE',
    ])
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024))
    expect(await send(bomb, { 'Content-Encoding': 'gzip' })).toEqual([413, 'PAYLOAD_TOO_LARGE'])
    expect(await latest()).toMatchObject({ t: 23 })
  })

  it('answers unknown addresses in the shape of every error', async () => {
    const nowhere = await call('GET', '/api/v1/nowhere')
    expect(nowhere).toMatchObject({ status: 404, body: { error: { code: 'NOT_FOUND' } } })
    expect(nowhere.body.error.request_id).toBe(nowhere.headers.get('x-request-id'))
    const wrong = await call('PATCH', '/health')
    expect(wrong.status).toBe(405)
    expect(wrong.headers.get('allow')).toBe('GET')
    expect((await call('GET', '/health')).body.status).toBe('healthy')
  })
}

for (const name of Object.keys(deployments) as DeploymentName[]) {
  const journey = `journey contract: ${name}`
  const sqld = name !== 'cloud bundles' || findSqld() !== undefined
  const INFLUXDB_BUCKET = `journey-${process.pid}-${name.replaceAll(' ', '-')}`
  describeWith({ sqld }, journey, () => suite(name))
  describeWith({ sqld, influxdb: influxIsThere }, `${journey}, InfluxDB`, () =>
    suite(name, { ...influxSettings, INFLUXDB_BUCKET }),
  )
}

const openMosquitto = async (): Promise<Beside> => {
  const { serverLogin, url, end } = await startMosquitto()
  const settings = {
    MQTT_URL: serverLogin.url,
    MQTT_USERNAME: serverLogin.username,
    MQTT_PASSWORD: serverLogin.password,
  }
  return { settings: { ...settings, MQTT_PORT: new URL(url).port }, mqttUrl: url, end }
}
for (const name of ['npm start', 'npm run dev'] as const)
  describeWith({ mosquitto: hasMosquitto }, `journey contract: ${name}, Mosquitto`, () =>
    suite(name, {}, openMosquitto),
  )
