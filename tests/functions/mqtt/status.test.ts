import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { type RecordingBroker, startRecordingBroker } from '../../support/recording-broker.ts'

let clock = Date.parse('2026-03-01T12:00:00Z')

let functions: TestFunctions
let broker: RecordingBroker
beforeAll(async () => {
  vi.setSystemTime(clock)
  broker = await startRecordingBroker()
  functions = await openFunctions({}, broker.iot)
})
beforeEach(() => {
  broker.unavailable = false
  clock += 15_000
  vi.setSystemTime(clock)
})
afterAll(async () => {
  await functions.close()
  await broker.close()
  vi.useRealTimers()
})

const status = async () => {
  const answer = await functions.call('mqtt-status', 'GET', '/api/v1/mqtt/status')
  return [answer.status, answer.json]
}

const healthy = [200, { status: 'healthy', broker_info: { connected: true, kind: 'embedded' } }]
const unavailable = [200, { status: 'unavailable', broker_info: { connected: false, kind: 'embedded' } }]

describe('the status of MQTT', () => {
  it('is healthy for anybody who asks while the broker answers', async () => {
    expect(await status()).toEqual(healthy)
  })

  it('is unavailable while the broker does not answer, and the request succeeds', async () => {
    broker.unavailable = true
    expect(await status()).toEqual(unavailable)
  })

  it('asks the broker at most every 15 seconds', async () => {
    expect(await status()).toEqual(healthy)
    broker.unavailable = true
    vi.setSystemTime(clock + 14_999)
    expect(await status()).toEqual(healthy)
    vi.setSystemTime(clock + 15_000)
    expect(await status()).toEqual(unavailable)
    clock += 15_000
  })
})
