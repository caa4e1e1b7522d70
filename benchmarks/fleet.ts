/** The devices of a measurement: their registration, their messages, and the count of their stored readings. */
import { httpRequest } from './http-load.ts'
import { BenchError } from './measure.ts'
import type { MqttDevice } from './mqtt-load.ts'

export interface FleetDevice {
  readonly id: number
  readonly apiKey: string
  /** Its message, always the same. Without a timestamp every message is a new reading. */
  readonly payload: string
}

/** Requests at the same time while devices are registered or counted. */
const parallel = 16

const inParallel = async <T>(count: number, each: (at: number) => Promise<T>): Promise<T[]> => {
  const results: T[] = new Array(count)
  let next = 0
  const work = async () => {
    for (let at = next++; at < count; at = next++) results[at] = await each(at)
  }
  await Promise.all(Array.from({ length: parallel }, work))
  return results
}

const call = async (url: string, init: RequestInit, expected: number): Promise<Record<string, unknown>> => {
  const response = await fetch(url, init)
  const text = await response.text()
  if (response.status !== expected)
    throw new BenchError(`${url}: HTTP ${response.status} ${text.slice(0, 200)}`)
  return JSON.parse(text) as Record<string, unknown>
}

const json = { 'Content-Type': 'application/json' }

/** 200 bytes for every device. */
const payloadOf = (at: number): string => {
  const digits = String(at % 1000).padStart(3, '0')
  return (
    `{"data":{"temperature":23.${digits},"humidity":65.${digits},"pressure":1013.${digits},` +
    `"battery_level":87,"signal_strength":-52},` +
    `"metadata":{"location":"Living Room, at window","sensor_status":"active","unit":"SI"}}`
  )
}

/** Registers devices over HTTP. @throws {BenchError} */
export const registerFleet = (url: string, count: number): Promise<FleetDevice[]> =>
  inParallel(count, async (at) => {
    const body = JSON.stringify({ name: `fleet-${at}`, device_type: 'bench_sensor', location: 'Living Room' })
    const answer = await call(`${url}/api/v1/devices/register`, { method: 'POST', headers: json, body }, 201)
    const device = answer.device as { id: number; api_key: string }
    return { id: device.id, apiKey: device.api_key, payload: payloadOf(at) }
  })

/** Stored readings of the whole fleet, counted with `GET /api/v1/devices/status`. */
export async function countStored(url: string, fleet: readonly FleetDevice[]): Promise<number> {
  const counts = await inParallel(fleet.length, async (at) => {
    const headers = { 'X-API-Key': fleet[at]?.apiKey ?? '' }
    const { device } = await call(`${url}/api/v1/devices/status`, { headers }, 200)
    return (device as { telemetry_count: number }).telemetry_count
  })
  return counts.reduce((sum, count) => sum + count, 0)
}

/** Bytes of the answer to a reading. */
export async function answerSize(url: string, { apiKey, payload }: FleetDevice): Promise<number> {
  const headers = { ...json, 'X-API-Key': apiKey }
  const answer = await call(
    `${url}/api/v1/devices/telemetry`,
    { method: 'POST', headers, body: payload },
    201,
  )
  return JSON.stringify(answer).length
}

/** Endless requests with a reading, from one device after the other. */
export function telemetryRequests(fleet: readonly FleetDevice[]): () => Buffer {
  const requests = fleet.map(({ apiKey, payload }) =>
    httpRequest('/api/v1/devices/telemetry', { 'X-API-Key': apiKey, ...json }, payload),
  )
  let at = 0
  return () => requests[at++ % requests.length] as Buffer
}

/** Readings of one request of {@link batchRequests}. */
export const readingsOfBatch = 100

/** Endless requests with 100 readings each, from one device after the other. The readings have no time of their own. */
export function batchRequests(fleet: readonly FleetDevice[]): () => Buffer {
  const requests = fleet.map(({ apiKey, payload }) =>
    httpRequest(
      '/api/v1/devices/telemetry',
      { 'X-API-Key': apiKey, ...json },
      `[${Array.from({ length: readingsOfBatch }, () => payload).join()}]`,
    ),
  )
  let at = 0
  return () => requests[at++ % requests.length] as Buffer
}

/** Endless requests, each of which registers a new device. */
export function registerRequests(): () => Buffer {
  let count = 0
  return () => {
    count += 1
    const body = JSON.stringify({
      name: `device-${count}`,
      device_type: 'bench_sensor',
      location: 'Living Room',
    })
    return httpRequest('/api/v1/devices/register', json, body)
  }
}

/** The fleet as MQTT clients. */
export const mqttDevices = (fleet: readonly FleetDevice[]): MqttDevice[] =>
  fleet.map(({ id, apiKey, payload }) => ({
    clientId: `iotflow-device-${id}`,
    username: String(id),
    password: apiKey,
    topic: `iotflow/devices/${id}/telemetry`,
    payload,
  }))
