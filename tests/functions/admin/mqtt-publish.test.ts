import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { type RecordingBroker, startRecordingBroker } from '../../support/recording-broker.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
let broker: RecordingBroker
beforeAll(async () => {
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
})

const topic = 'iotflow/fleet/notices/maintenance'
const call = (options: CallOptions) =>
  functions.call('admin-mqtt-publish', 'POST', '/api/v1/admin/mqtt/publish', {
    body: { topic, payload: '{"from":"22:00"}' },
    ...options,
  })

itIsForAdminsOnly(() => functions, call)

it('hands the message to the broker with QoS 1', async () => {
  const answer = await call({ admin: true, body: { topic, payload: 'ä', retain: true } })
  expect([answer.status, answer.json.topic]).toEqual([200, topic])
  expect(broker.published).toEqual([{ topic, payload: 'ä', qos: 1, retain: true }])
})

it.each([
  ['a topic of the broker', { topic: '$SYS/broker', payload: '' }],
  ['a topic elsewhere', { topic: 'other/topic', payload: '' }],
  ['a wildcard', { topic: 'iotflow/devices/+/commands', payload: '' }],
  ['too many levels', { topic: 'iotflow/1/2/3/4/5/6/7/8', payload: '' }],
  ['no payload', { topic }],
  ['a large payload', { topic, payload: 'x'.repeat(128 * 1024 + 1) }],
])('refuses %s', async (_what, body) => {
  expect((await call({ admin: true, body })).status).toBe(422)
  expect(broker.published).toEqual([])
})

it('answers 503 while the broker is unavailable', async () => {
  broker.unavailable = true
  const answer = await call({ admin: true })
  expect([answer.status, answer.json.error.code]).toEqual([503, 'UNAVAILABLE'])
})
