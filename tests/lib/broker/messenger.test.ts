import { afterEach, expect, it } from 'vitest'
import { createMessenger, type Messenger, type OutgoingMessage } from '../../../lib/broker/messenger.ts'
import { type DataPlane, openDataPlane } from '../../../local/mqtt/data-plane.ts'
import type { BrokerMessage } from '../../../local/mqtt/embedded/options.ts'

let plane: DataPlane | undefined
let messenger: Messenger | undefined
afterEach(async () => {
  messenger?.close()
  await plane?.close()
})

/** A messenger of a broker that takes every message. */
const start = async (told: Awaited<ReturnType<Messenger['publish']>>) => {
  const taken: BrokerMessage[] = []
  plane = await openDataPlane(() => ({
    async publish(message) {
      taken.push(message)
      return told
    },
    retained: () => undefined,
    retainedTopics: () => [],
    disconnect: async () => true,
  }))
  messenger = createMessenger(plane)
  return { messenger, taken }
}

const message: OutgoingMessage = {
  topic: 'iotflow/devices/7/commands',
  payload: '{}',
  retain: false,
  properties: {
    responseTopic: 'iotflow/devices/7/commands/a/response',
    correlationData: 'a',
    expiresInS: 60,
  },
}

it('hands on the properties of MQTT 5', async () => {
  const { messenger, taken } = await start({ reached: undefined, sessions: [], isConfirmed: false })
  await messenger.publish(message)
  await messenger.publish({ topic: 'a', payload: 'x', retain: true })
  expect(taken).toEqual([
    {
      topic: message.topic,
      payload: Buffer.from('{}'),
      qos: 1,
      retain: false,
      properties: {
        responseTopic: 'iotflow/devices/7/commands/a/response',
        correlationData: Buffer.from('a'),
        messageExpiryInterval: 60,
      },
    },
    { topic: 'a', payload: Buffer.from('x'), qos: 1, retain: true },
  ])
})

it.each([
  { reached: true, sessions: ['one', 'two'], isConfirmed: true },
  { reached: false, sessions: [], isConfirmed: false },
  { reached: undefined, sessions: [], isConfirmed: false },
])('tells what the broker tells: %j', async (told) => {
  const { messenger } = await start(told)
  expect(await messenger.publish(message)).toEqual(told)
})

it('makes its other calls', async () => {
  const { messenger } = await start({ reached: undefined, sessions: [], isConfirmed: false })
  await messenger.disconnect('7')
  await messenger.check()
})
