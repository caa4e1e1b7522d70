/** The requests a client of the Flask predecessor makes, as its README shows them. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Machine, startMachine } from '../support/machine.ts'

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

/** Its reading is older than the 30 days that are kept by default: this one keeps for ever. */
let keeping: Machine
/** As it starts without any setting. */
let plain: Machine
let key: string
beforeAll(async () => {
  ;[keeping, plain] = await Promise.all([
    startMachine({ settings: { RETENTION_DAYS: '0' } }),
    startMachine({ settings: {} }),
  ])
})
afterAll(async () => {
  await Promise.all([keeping?.stop(), plain?.stop()])
})

const register = async (machine: Machine) => {
  const answer = await machine.request('POST', '/api/v1/devices/register', { body: sensor })
  expect(answer.status).toBe(201)
  return answer.body
}

it('registers the device, which is the first one and gets a key of 32 characters', async () => {
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

it('takes its telemetry with the time it gives', async () => {
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

  // An hour and a day back from now nothing is left of that summer.
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

it('takes a heartbeat without a body', async () => {
  const answer = await keeping.request('POST', '/api/v1/devices/heartbeat', { key })
  expect(answer.status).toBe(200)
  expect(answer.body).toEqual({
    message: 'Heartbeat received',
    device_id: 1,
    timestamp: isoTime,
    status: 'online',
  })
})

it('refuses that reading as too old where telemetry is kept for 30 days', async () => {
  const { device } = await register(plain)
  const answer = await plain.request('POST', '/api/v1/devices/telemetry', {
    key: device.api_key,
    body: reading,
  })
  expect(answer.status).toBe(422)
  expect(answer.body.error).toMatchObject({ code: 'TOO_OLD', details: [{ path: 'timestamp' }] })
  expect((await plain.stored()).readings).toBe(0)
})
