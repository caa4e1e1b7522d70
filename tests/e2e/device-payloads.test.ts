import fc from 'fast-check'
import { connectAsync, type MqttClient } from 'mqtt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Warning } from '../../lib/telemetry/reading.ts'
import { anyJson, jsonOf, legalName } from '../support/any-message.ts'
import { describeWith } from '../support/backends.ts'
import { devicePayloads } from '../support/corpus/all.ts'
import { bytesOf, type DevicePayload, type Fields, type StoredReading } from '../support/corpus/payload.ts'
import { hasMosquitto, type MosquittoServer, startMosquitto } from '../support/mosquitto.ts'
import { type Device, type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { eventually } from '../support/waiting.ts'

/**
 * Every message of the corpus is sent over HTTP and over MQTT, by both brokers, and each of its values found again in every kind of
 * answer.
 */
let server: StandaloneServer

const start = (settings: Record<string, string> = {}) => {
  const unlimited = ['', '_TELEMETRY', '_IP'].map((which) => [`RATE_LIMIT${which}_PER_MINUTE`, '0'])
  return startStandaloneServer({
    settings: {
      ...Object.fromEntries(unlimited),
      RATE_LIMIT_REGISTER_PER_5_MINUTES: '0',
      LOG_LEVEL: 'warn',
      ...settings,
    },
  })
}

const register = async (name: string, timezone: string | undefined): Promise<Device> => {
  const { status, body, text } = await server.request('POST', '/api/v1/devices/register', {
    body: { name, device_type: 'corpus', ...(timezone && { timezone }) },
  })
  expect(status, text).toBe(201)
  return { id: body.device.id, name, key: body.device.api_key }
}

type Send = (device: Device, payload: DevicePayload, now: number) => Promise<void>

const overHttp: Send = async ({ key }, { send, contentType = 'application/json', warnings = [] }, now) => {
  const headers = { 'Content-Type': contentType }
  const answer = await server.request('POST', '/api/v1/telemetry', { key, headers, body: bytesOf(send(now)) })
  expect(answer.status, answer.text).toBe(201)
  expect(answer.body.rejected).toEqual([])
  const said = (answer.body.warnings ?? []).map(({ code, path }: Warning) => `${code} ${path}`.trim())
  expect(said).toEqual(warnings)
}

const publish = async (client: MqttClient, { id }: Device, { send }: DevicePayload, now: number) => {
  try {
    await client.publishAsync(`iotflow/devices/${id}/telemetry`, Buffer.from(bytesOf(send(now))), { qos: 1 })
  } finally {
    await client.endAsync()
  }
}

const overMqtt: Send = async (device, payload, now) => {
  await publish(await server.mqtt(device), device, payload, now)
}

const get = async ({ id, key }: Device, path: string, query: Record<string, string> = {}) => {
  const answer = await server.request('GET', `/api/v1/telemetry/${id}${path}?${new URLSearchParams(query)}`, {
    key,
  })
  expect(answer.status, `${path} ${answer.text}`).toBe(200)
  return answer
}

/** The cells of a CSV by RFC 4180, by the names of their columns. */
const csvRows = (text: string): Record<string, string>[] => {
  const lines: string[][] = [[]]
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    lines.at(-1)?.push(quoted === undefined ? (plain ?? '') : quoted.replaceAll('""', '"'))
    if (end !== ',') lines.push([])
  }
  const [names = [], ...rows] = lines.slice(0, -1)
  return rows.map((row) => Object.fromEntries(names.map((name, at) => [name, row[at] ?? ''])))
}

const timeOf = (ms: number) => new Date(ms).toISOString().replace('.000', '')

const expectHistory = async (device: Device, readings: readonly StoredReading[]) => {
  const { body } = await get(device, '', { order: 'asc' })
  const data = body.data as ({ timestamp: string; metadata?: unknown } & Fields)[]
  expect(data.map(({ timestamp, ...reading }) => reading)).toEqual(
    readings.map(({ fields, metadata }) => ({ ...fields, ...(metadata && { metadata }) })),
  )
  for (const [at, { time }] of readings.entries())
    if (time !== undefined) expect(data[at]?.timestamp).toBe(timeOf(time))
}

const expectCsv = async (device: Device, readings: readonly StoredReading[], names: readonly string[]) => {
  const rows = csvRows((await get(device, '', { order: 'asc', format: 'csv' })).text)
  expect(rows.map(({ timestamp, metadata, ...cells }) => cells)).toEqual(
    readings.map(({ fields }) =>
      Object.fromEntries(
        names.map((name) => [name, Object.hasOwn(fields, name) ? String(fields[name]) : '']),
      ),
    ),
  )
}

/** The names as a query lists them, in parts of at most 64. */
const expectChosenFields = async (
  device: Device,
  readings: readonly StoredReading[],
  names: readonly string[],
) => {
  const { body } = await get(device, '', { order: 'asc', fields: names.slice(0, 64).join(',') })
  expect(body.data.map(({ timestamp, metadata, ...fields }: Record<string, unknown>) => fields)).toEqual(
    readings.map(({ fields }) => fields),
  )
}

const expectAggregates = async (device: Device, newest: Fields) => {
  const query = { window: '1d', start_time: '-2d', aggregation: 'last' }
  for (const [field, value] of Object.entries(newest)) {
    const { body } = await get(device, '/aggregated', { ...query, field })
    // In an aggregation, booleans are 0 and 1.
    expect(body.data[0]?.value, field).toBe(typeof value === 'boolean' ? Number(value) : value)
  }
}

const expectCatalogue = async (device: Device, newest: Fields) => {
  const { body } = await get(device, '/fields')
  const listed = body.fields.map(({ name }: { name: string }) => name)
  expect(listed.sort()).toEqual(Object.keys(newest).sort())
}

const everyMessage = (door: string, send: Send) =>
  it.each(devicePayloads.map((payload) => [payload.name, payload] as const))('%s', async (name, payload) => {
    // A minute ago, as devices that gather their readings send them.
    const now = Math.floor(Date.now() / 1000) * 1000 - 60_000
    const device = await register(`${name}, over ${door}`, payload.timezone)
    await send(device, payload, now)
    const readings = payload.stored(now)
    const newest: Fields = Object.assign({}, ...readings.map(({ fields }) => fields))
    await expectHistory(device, readings)
    const { timestamp: _, ...latest } = (await get(device, '/latest')).body.latest_data
    expect(latest).toEqual(newest)
    await expectCsv(device, readings, Object.keys(newest))
    await expectChosenFields(device, readings, Object.keys(newest))
    await expectAggregates(device, newest)
    await expectCatalogue(device, newest)
  })

describe('a server with its own broker', () => {
  beforeAll(async () => {
    server = await start()
  })
  afterAll(() => server?.stop())

  it('stores any object with one finite number under a storable name', async () => {
    const number = fc.double({ noNaN: true, noDefaultInfinity: true })
    let made = 0
    await fc.assert(
      fc.asyncProperty(anyJson.object, legalName, number, async (others, field, value) => {
        made += 1
        const device = await register(`any object ${made}`, undefined)
        const body = jsonOf({ ...others, [field]: value })
        const answer = await server.request('POST', '/api/v1/telemetry', { key: device.key, body })
        expect(answer.status, `${body}: ${answer.text}`).toBe(201)
        const { data } = (await get(device, '', { start_time: '2000-01-01' })).body
        const isStored = data.some((reading: Fields) => reading[field] === (value === 0 ? 0 : value))
        // An envelope among the others can hold the same name, which goes before.
        const isSaid = answer.body.warnings?.some(({ path }: Warning) => path === field)
        expect(isStored || isSaid, `${field} of ${body}: ${answer.text}`).toBe(true)
      }),
      { numRuns: 100 },
    )
  })

  describe('over HTTP', () => everyMessage('HTTP', overHttp))
  describe('over MQTT', () => everyMessage('MQTT', overMqtt))
})

describeWith({ mosquitto: hasMosquitto }, 'a server beside Mosquitto, over MQTT', () => {
  let mosquitto: MosquittoServer
  beforeAll(async () => {
    mosquitto = await startMosquitto()
    const { url, username, password } = mosquitto.serverLogin
    server = await start({
      MQTT_URL: url,
      MQTT_USERNAME: username,
      MQTT_PASSWORD: password,
      MQTT_PORT: new URL(mosquitto.url).port,
    })
  })
  afterAll(async () => {
    await server?.stop()
    await mosquitto?.end()
  })

  everyMessage('Mosquitto', async (device, payload, now) => {
    const { id, key } = device
    const login = { clientId: `${id}`, username: `${id}`, password: key }
    await publish(await connectAsync(mosquitto.url, { ...login, reconnectPeriod: 0 }), device, payload, now)
    // Here, the acknowledgement only says that Mosquitto has the message.
    await eventually(async () => expect((await get(device, '')).body.count).toBeGreaterThan(0))
  })
})
