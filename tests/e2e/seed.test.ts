/** The requests of a client of the Flask predecessor, as its README shows them. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'

const isoTime = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(?:\d{3}){1,3})?Z$/)

const sensor = {
  name: 'Smart Temperature Sensor 001',
  description: 'Living room environmental sensor',
  device_type: 'temperature_sensor',
  location: 'Living Room',
  firmware_version: '1.2.3',
  hardware_version: 'v2.1',
}
const reading = {
  data: { temperature: 23.5, humidity: 65.2, pressure: 1013.25, battery_level: 87, signal_strength: -52 },
  metadata: { location: 'Living Room', sensor_status: 'active' },
  timestamp: '2025-07-02T14:30:00Z',
}

/** This server keeps readings for ever: the reading of the README is older than the default of 30 days. */
let keeping: StandaloneServer
/** This server has the default settings. */
let plain: StandaloneServer
let key: string
beforeAll(async () => {
  ;[keeping, plain] = await Promise.all([
    startStandaloneServer({ settings: { RETENTION_DAYS: '0' } }),
    startStandaloneServer({ settings: {} }),
  ])
})
afterAll(async () => {
  await Promise.all([keeping?.stop(), plain?.stop()])
})

const register = async (server: StandaloneServer) => {
  const answer = await server.request('POST', '/api/v1/devices/register', { body: sensor })
  expect(answer.status).toBe(201)
  return answer.body
}

it('registers the device, with id 1 and a key of 32 characters', async () => {
  const body = await register(keeping)
  expect(body).toMatchObject({
    message: 'Device registered successfully',
    device: {
      id: 1,
      name: sensor.name,
      api_key: expect.stringMatching(/^[A-Za-z0-9]{32}$/),
      status: 'active',
      device_type: 'temperature_sensor',
      created_at: isoTime,
    },
  })
  key = body.device.api_key
})

it('stores its telemetry with the given time', async () => {
  const answer = await keeping.request('POST', '/api/v1/devices/telemetry', { key, body: reading })
  expect(answer.status).toBe(201)
  expect(answer.body).toMatchObject({
    message: 'Telemetry stored successfully',
    device_id: 1,
    device_name: sensor.name,
    timestamp: '2025-07-02T14:30:00Z',
  })
})

it('answers the three queries without a key', async () => {
  const about = { device_id: 1, device_name: sensor.name, device_type: 'temperature_sensor' }
  const latest = await keeping.request('GET', '/api/v1/telemetry/1/latest')
  expect(latest.status).toBe(200)
  expect(latest.body).toEqual({
    ...about,
    latest_data: { timestamp: '2025-07-02T14:30:00Z', ...reading.data },
  })

  // The default ranges (an hour, a day) do not reach back to the reading.
  const hour = '/api/v1/telemetry/1?start_time=-1h&limit=100'
  expect((await keeping.request('GET', hour)).body).toMatchObject({ ...about, data: [], count: 0 })
  const day = '/api/v1/telemetry/1/aggregated?window=1h&start_time=-24h'
  expect((await keeping.request('GET', day)).body).toMatchObject({ ...about, data: [], count: 0 })

  const now = { data: reading.data, metadata: reading.metadata }
  expect((await keeping.request('POST', '/api/v1/devices/telemetry', { key, body: now })).status).toBe(201)
  expect((await keeping.request('GET', hour)).body).toEqual({
    ...about,
    start_time: isoTime,
    data: [{ timestamp: isoTime, ...reading.data, metadata: reading.metadata }],
    count: 1,
  })
  expect((await keeping.request('GET', day)).body).toEqual({
    ...about,
    field: 'temperature',
    aggregation: 'mean',
    window: '1h',
    start_time: isoTime,
    data: [{ timestamp: isoTime, value: 23.5 }],
    count: 1,
  })
  const old = '/api/v1/telemetry/1?start_time=2025-07-02T14:30:00Z&end_time=2025-07-02T14:30:01Z'
  expect((await keeping.request('GET', old)).body).toMatchObject({
    data: [{ timestamp: '2025-07-02T14:30:00Z', ...reading.data }],
    count: 1,
  })
})

it('accepts a heartbeat without a body', async () => {
  const answer = await keeping.request('POST', '/api/v1/devices/heartbeat', { key })
  expect(answer.status).toBe(200)
  expect(answer.body).toEqual({
    message: 'Heartbeat received',
    device_id: 1,
    timestamp: isoTime,
    status: 'online',
  })
})

it('stores the reading at the time of arrival when telemetry is kept for 30 days', async () => {
  const { device } = await register(plain)
  const answer = await plain.request('POST', '/api/v1/devices/telemetry', {
    key: device.api_key,
    body: reading,
  })
  expect(answer.status).toBe(201)
  const { body } = await plain.request('GET', `/api/v1/telemetry/${device.id}`, { key: device.api_key })
  expect(body.data).toMatchObject([
    { ...reading.data, metadata: { ...reading.metadata, device_time: reading.timestamp } },
  ])
})
