import { expect, test } from 'vitest'
import { commandOf } from '../../../../local/mqtt/embedded/commands.ts'
import {
  aWhile,
  device,
  everyRule,
  inbox,
  keyOf,
  rawDevice,
  type Setup,
  start,
  subscribePacket,
} from '../../../support/embedded-broker.ts'
import { until } from '../../../support/waiting.ts'

const commands = 'iotflow/devices/5/commands'
const command = (id = 'one', topic = commands) => ({
  topic,
  payload: id,
  qos: 1 as const,
  retain: false,
  properties: { correlationData: Buffer.from(id) },
})
const nobody = { reached: false, sessions: [], isConfirmed: false }

/** A broker that records confirmed commands, and subscriptions that were announced. */
const startWithCommands = async () => {
  const received: unknown[] = []
  const rules = everyRule.filter(({ functionName }) => functionName === 'commands-deliver')
  const setup = await start({ rules, onCommandReceived: (id, name) => received.push([id, name]) })
  const announced = () =>
    setup.calls.map(({ event }) => {
      const { eventType, topics, clientId } = JSON.parse(
        Buffer.from(event.payload as string, 'base64').toString(),
      )
      return [clientId, eventType, topics]
    })
  return { ...setup, received, announced }
}
const subscribed = async (
  setup: Setup,
  more: { readonly clean?: boolean } = {},
  ...filters: Parameters<typeof subscribePacket>
) => {
  const client = await rawDevice(setup, 5, more)
  client.send(subscribePacket(...(filters.length > 0 ? filters : [commands])))
  await client.got('suback')
  return client
}

test('a command is a message to the commands of a device with an id as correlation data', () => {
  expect(commandOf(command())).toEqual({ deviceId: 5, commandId: 'one' })
  expect(commandOf(command('two', `${commands}/control`))).toEqual({ deviceId: 5, commandId: 'two' })
  expect(commandOf(command('two', 'iotflow/devices/5/config'))).toBeUndefined()
  expect(commandOf({ topic: commands })).toBeUndefined()
  expect(commandOf(undefined)).toBeUndefined()
})

test('a command reaches nobody while its device has not subscribed to its topic', async () => {
  const setup = await startWithCommands()
  await subscribed(setup, {}, `${commands}/control`)
  expect(await setup.broker.publish(command())).toEqual(nobody)
  expect(await setup.broker.publish(command('one', 'iotflow/devices/6/commands'))).toEqual(nobody)
  expect(await setup.broker.publish(command('one', `${commands}/control`))).toMatchObject({ reached: true })
})

test('nothing is told of other messages', async () => {
  const { broker } = await startWithCommands()
  expect(await broker.publish({ topic: commands, payload: 'x', qos: 1, retain: false })).toEqual({
    reached: undefined,
    sessions: [],
    isConfirmed: false,
  })
})

test.each([{ clean: true }, { clean: false }])(
  'is confirmed by the PUBACK of its client, with %j',
  async (more) => {
    const setup = await startWithCommands()
    const client = await subscribed(setup, more)
    const published = await setup.broker.publish(command())
    expect(published).toEqual({ reached: true, sessions: [expect.any(String)], isConfirmed: true })
    await client.got('publish')
    await setup.broker.publish(command('two'))
    await client.got('publish', 2)
    const [first, second] = client.of('publish').map(({ messageId }) => messageId as number)
    expect(first).not.toBe(second)
    await aWhile()
    expect(setup.received).toEqual([])
    client.sendPacket({ cmd: 'puback', messageId: second as number })
    await until(() => setup.received.length === 1, 'a confirmation')
    client.sendPacket({ cmd: 'puback', messageId: second as number })
    client.sendPacket({ cmd: 'puback', messageId: first as number })
    await until(() => setup.received.length === 2, 'the other confirmation')
    expect(setup.received).toEqual([
      [5, 'two'],
      [5, 'one'],
    ])
  },
)

test('is not confirmed by a client that has subscribed with QoS 0', async () => {
  const setup = await startWithCommands()
  const client = await subscribed(setup, {}, [commands, 0], [`${commands}/#`, 1])
  expect(await setup.broker.publish(command())).toMatchObject({ reached: true, isConfirmed: false })
  await client.got('publish')
  expect(client.of('publish')).toMatchObject([{ qos: 0 }])
})

test('a session keeps no command: neither while its client is away, nor one that it has not confirmed', async () => {
  const setup = await startWithCommands()
  const first = await subscribed(setup, { clean: false })
  await setup.broker.publish(command())
  await first.got('publish')
  first.socket.destroy()
  await until(() => setup.broker.connected() === 0, 'the end of the connection')
  expect(await setup.broker.publish(command('two'))).toEqual(nobody)
  await setup.broker.publish({ topic: commands, payload: 'other', qos: 1, retain: false })
  const second = await rawDevice(setup, 5, { clean: false })
  await second.got('publish')
  await aWhile()
  expect(second.of('publish').map(({ payload }) => String(payload))).toEqual(['other'])
})

test('subscriptions are announced when they are granted, and those of a session at the CONNECT', async () => {
  const setup = await startWithCommands()
  const first = await subscribed(setup, { clean: false }, commands, 'iotflow/devices/6/commands')
  expect(setup.announced()).toEqual([['5', 'subscribed', [commands]]])
  first.socket.destroy()
  await until(() => setup.broker.connected() === 0, 'the end of the connection')
  await rawDevice(setup, 5, { clean: false })
  await until(() => setup.calls.length === 2, 'the second announcement')
  expect(setup.announced()[1]).toEqual(['5', 'subscribed', [commands]])
})

test('a command comes with its properties to a client of MQTT 5 and without them to others', async () => {
  const setup = await startWithCommands()
  const [five, four] = [
    await device(setup, 5, { clientId: '5-a', protocolVersion: 5 }),
    await device(setup, 5, { clientId: '5-b', password: keyOf(5) }),
  ]
  const got = [inbox(five), inbox(four)]
  let correlation: string | undefined
  five.on('message', (_topic, _payload, { properties }) => {
    correlation = properties?.correlationData?.toString()
  })
  for (const client of [five, four]) await client.subscribeAsync(commands, { qos: 1 })
  const { sessions } = await setup.broker.publish(command())
  expect(new Set(sessions).size).toBe(2)
  await until(() => got.every((messages) => messages.length === 1), 'both messages')
  expect(correlation).toBe('one')
})
