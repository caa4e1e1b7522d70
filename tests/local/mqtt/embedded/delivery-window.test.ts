import { describe, expect, test } from 'vitest'
import {
  aWhile,
  publishPacket,
  rawDevice,
  type Setup,
  start,
  telemetry,
} from '../../../support/embedded-broker.ts'
import { until } from '../../../support/waiting.ts'

type Client = Awaited<ReturnType<typeof rawDevice>>

const commands = 'iotflow/devices/5/commands'
const gone = (setup: Setup) => until(() => setup.broker.connected() === 0, 'the device is offline')
const deviceV5 = (setup: Setup, id: number, more: object = {}) =>
  rawDevice(setup, id, { protocolVersion: 5, ...more })
const subscribe = async (client: Client, topic: string) => {
  client.sendPacket({ cmd: 'subscribe', messageId: 9, subscriptions: [{ topic, qos: 2 }] })
  await client.got('suback')
}

describe('a client with a Receive Maximum of 2', () => {
  const payloads = (client: Client) => client.of('publish').map(({ payload }) => String(payload))
  const acknowledge = (client: Client, index: number) => {
    const { messageId } = client.of('publish')[index] as { messageId?: number }
    client.sendPacket({ cmd: 'puback', messageId } as Parameters<Client['sendPacket']>[0])
  }
  const publish = (setup: Setup, payload: string, qos: 0 | 1 = 1) =>
    setup.broker.publish({ topic: commands, payload, qos, retain: false })
  const limited = { receiveMaximum: 2, sessionExpiryInterval: 60 }

  test('gets two messages at once, and each further one after an acknowledgement', async () => {
    const setup = await start()
    const client = await deviceV5(setup, 5, { properties: { receiveMaximum: 2 } })
    await subscribe(client, commands)
    for (const payload of ['1', '2', '3', '4']) await publish(setup, payload)
    await publish(setup, 'without acknowledgement', 0)
    await client.got('publish', 3)
    await aWhile()
    expect(payloads(client)).toEqual(['1', '2', 'without acknowledgement'])
    acknowledge(client, 1)
    await client.got('publish', 4)
    await aWhile()
    expect(payloads(client).slice(3)).toEqual(['3'])
    acknowledge(client, 0)
    await client.got('publish', 5)
    expect(payloads(client).slice(4)).toEqual(['4'])
  })

  test('gets the messages of its session so, too, and may send meanwhile', async () => {
    const setup = await start()
    const client = await deviceV5(setup, 5, { properties: limited })
    await subscribe(client, commands)
    client.socket.destroy()
    await gone(setup)
    for (const payload of ['1', '2', '3', '4', '5']) await publish(setup, payload)
    const back = await deviceV5(setup, 5, { clean: false, properties: limited })
    await back.got('publish', 2)
    await aWhile()
    expect(payloads(back)).toEqual(['1', '2'])
    back.send(publishPacket(telemetry(5), '1', 1, { protocolVersion: 5 }))
    await back.got('puback')
    for (let index = 0; index < 3; index++) {
      acknowledge(back, index)
      await back.got('publish', index + 3)
      await aWhile(20)
      expect(payloads(back)).toHaveLength(index + 3)
    }
    expect(payloads(back)).toEqual(['1', '2', '3', '4', '5'])
  })
})
