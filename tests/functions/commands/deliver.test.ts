import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as runtime from '../../../lib/runtime.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { type RecordingBroker, startRecordingBroker } from '../../support/recording-broker.ts'
import { created, show } from './requests.ts'

let functions: TestFunctions
let broker: RecordingBroker
beforeAll(async () => {
  broker = await startRecordingBroker()
  functions = await openFunctions({}, broker.iot)
})
beforeEach(() => {
  broker.clear()
  broker.reaches = true
})
afterAll(async () => {
  await functions.close()
  await broker.close()
})

/** An event as AWS IoT Core publishes it. */
const subscribed = (clientId: string, topics: unknown, eventType = 'subscribed', session = 'one') =>
  functions.invoke('commands-deliver', {
    topic: `$aws/events/subscriptions/${eventType}/${clientId}`,
    payload: Buffer.from(
      JSON.stringify({
        clientId,
        timestamp: Date.now(),
        eventType,
        sessionIdentifier: session,
        principalIdentifier: 'p',
        topics,
      }),
    ).toString('base64'),
    client_id: clientId,
    received_at: Date.now(),
  })

/** A command that has waited because nobody had subscribed. */
const waiting = async () => {
  const { id } = await functions.register()
  broker.reaches = false
  const commandId = await created(functions, id)
  await (await runtime.commands()).settled()
  broker.clear()
  broker.reaches = true
  return { id, commandId }
}

describe('a subscription', () => {
  it.each(['commands', 'commands/#', 'commands/control'])('to %s brings what waited', async (filter) => {
    const { id, commandId } = await waiting()
    await subscribed(`esp32_${id}`, ['iotflow/devices/1/config', `iotflow/devices/${id}/${filter}`])
    expect(broker.published).toMatchObject([
      { topic: `iotflow/devices/${id}/commands`, retain: false, qos: 1 },
    ])
    expect((await show(functions, id, commandId)).json.command).toMatchObject({ status: 'sent', attempts: 1 })
  })

  it.each<[string, unknown, string | undefined, string | undefined]>([
    ['to the configuration', ['config'], undefined, undefined],
    ['that ends', ['commands'], 'unsubscribed', undefined],
    ['without topics', undefined, undefined, undefined],
    ['of a client that is no device', ['commands'], undefined, 'sensor'],
  ])('%s brings nothing', async (_what, filters, eventType, client) => {
    const { id } = await waiting()
    const topics = Array.isArray(filters) ? filters.map((name) => `iotflow/devices/${id}/${name}`) : filters
    await subscribed(client ?? String(id), topics, eventType)
    expect(broker.published).toEqual([])
  })

  it('that is no JSON is ignored', async () => {
    await functions.invoke('commands-deliver', {
      topic: '$aws/events/subscriptions/subscribed/1',
      payload: 'eA==',
    })
    expect(broker.published).toEqual([])
  })
})

it('a command that a client has confirmed does not come again in its next session', async () => {
  const { id, commandId } = await waiting()
  await subscribed(String(id), [`iotflow/devices/${id}/commands`])
  await functions.invoke('commands-deliver', { received: [[id, commandId]] })
  await subscribed(String(id), [`iotflow/devices/${id}/commands`], 'subscribed', 'two')
  await new Promise((resolve) => setTimeout(resolve, 1200))
  expect(broker.published.length).toBe(1)
})
