/** What the functions count where a stage is deployed. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { CountName } from '../../lib/counts.ts'
import { CountedReadings } from '../../lib/telemetry/intake/counted-readings.ts'
import { openFunctions, type TestFunctions } from '../support/functions.ts'

const counted = new Map<CountName, number>()
const count = (name: CountName, by = 1) => void counted.set(name, (counted.get(name) ?? 0) + by)

let functions: TestFunctions
let device: Awaited<ReturnType<TestFunctions['register']>>
beforeAll(async () => {
  functions = await openFunctions({}, undefined, { count, batchObservers: [new CountedReadings(count)] })
  device = await functions.register()
})
afterAll(() => functions.close())

/** What was counted since the last call. */
const countedNow = () => {
  const all = Object.fromEntries([...counted].filter(([, times]) => times > 0))
  counted.clear()
  return all
}

const ingest = (body: string) =>
  functions.invoke('telemetry-ingest', {
    payload: Buffer.from(body).toString('base64'),
    topic: `iotflow/devices/${device.id}/telemetry`,
    client_id: String(device.id),
    received_at: Date.now(),
    message_id: `m-${Math.random()}`,
  })

const login = (password: string) =>
  functions.invoke('mqtt-authorize', {
    protocols: ['mqtt'],
    protocolData: {
      mqtt: {
        clientId: String(device.id),
        username: String(device.id),
        password: Buffer.from(password).toString('base64'),
      },
    },
    connectionMetadata: { id: 'c-1' },
  })

it('counts telemetry over HTTP and MQTT by what became of it', async () => {
  const body = { data: { temperature: 21 }, timestamp: '1970-01-01T00:00:00Z' }
  await functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', { key: device.key, body })
  expect(countedNow()).toEqual({ MessagesReceived: 1, ReadingsStored: 1, ReadingWarnings: 1 })
  await ingest('{"temperature":22}')
  expect(countedNow()).toEqual({ MessagesReceived: 1, ReadingsStored: 1 })
  await ingest('no JSON')
  expect(countedNow()).toEqual({ MessagesReceived: 1, ReadingsRejected: 1, DeadLetters: 1 })
})

it('counts commands that are created, and answers that end them, once', async () => {
  const send = async () => {
    const path = `/api/v1/admin/devices/${device.id}/commands`
    const body = { command: 'restart' }
    const { json } = await functions.call('commands-create', 'POST', path, { admin: true, body })
    return json.command_id as string
  }
  const answer = (id: string, status: string) =>
    functions.call('commands-answer', 'POST', `/api/v1/devices/commands/${id}`, {
      key: device.key,
      body: { status },
    })
  const [first, second] = [await send(), await send()]
  for (const status of ['acknowledged', 'succeeded', 'succeeded', 'failed']) await answer(first, status)
  await answer(second, 'failed')
  expect(countedNow()).toEqual({ CommandsCreated: 2, CommandsSucceeded: 1, CommandsFailed: 1 })
})

it('counts connections that the authorizer allows and refuses', async () => {
  await login(device.key)
  await login('wrong')
  await login('wrong')
  expect(countedNow()).toEqual({ MqttLogins: 1, MqttLoginsRefused: 2 })
})
