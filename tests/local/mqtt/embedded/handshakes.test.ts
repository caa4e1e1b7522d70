import { connectAsync } from 'mqtt'
import { describe, expect, test } from 'vitest'
import { Handshakes } from '../../../../local/mqtt/embedded/handshakes.ts'
import {
  aWhile,
  ends,
  host,
  keyOf,
  publishPacket,
  rawDevice,
  type Setup,
  start,
  telemetry,
} from '../../../support/embedded-broker.ts'
import { until } from '../../../support/waiting.ts'

type Client = Awaited<ReturnType<typeof rawDevice>>

const gone = (setup: Setup) => until(() => setup.broker.connected() === 0, 'the device is offline')

const deferred = () => {
  let resolve = () => {}
  let reject: (error: Error) => void = () => {}
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  return { promise, resolve, reject }
}

test('a message that is sent again waits for the first one, and is not new until its handshake ends', async () => {
  const handshakes = new Handshakes()
  expect(handshakes.earlier('c', 1)).toBeUndefined()
  const storing = deferred()
  const begun = handshakes.begin('c', 1, storing.promise)
  const earlier = handshakes.earlier('c', 1)
  expect(earlier).toBe(storing.promise)
  expect(handshakes.earlier('c', 2)).toBeUndefined()
  expect(handshakes.earlier('d', 1)).toBeUndefined()
  storing.resolve()
  await begun
  expect(handshakes.earlier('c', 1)).toBeDefined()
  expect(handshakes.isForwarded('c', 1)).toBe(false)
  handshakes.forward('c', 1)
  expect(handshakes.isForwarded('c', 1)).toBe(true)
  handshakes.end('c', 1)
  expect(handshakes.earlier('c', 1)).toBeUndefined()
})

test('a message that could not be stored is new when it is sent again', async () => {
  const handshakes = new Handshakes()
  const storing = deferred()
  const begun = handshakes.begin('c', 1, storing.promise)
  storing.reject(new Error('disk full'))
  await expect(begun).rejects.toThrow('disk full')
  expect(handshakes.earlier('c', 1)).toBeUndefined()
})

test('a session that has ended is forgotten, also while its message is stored', async () => {
  const handshakes = new Handshakes()
  const storing = deferred()
  const begun = handshakes.begin('c', 1, storing.promise)
  handshakes.forward('c', 2)
  handshakes.forget('c')
  storing.resolve()
  await begun
  expect(handshakes.earlier('c', 1)).toBeUndefined()
  expect(handshakes.isForwarded('c', 2)).toBe(false)
})

describe.each([4, 5] as const)('QoS 2 over protocol version %i', (protocolVersion) => {
  const connect = (setup: Setup, more: object = {}) => rawDevice(setup, 5, { protocolVersion, ...more })
  const publish = (id: number, payload: string, more: object = {}) =>
    publishPacket(telemetry(5), payload, id, { protocolVersion, qos: 2, ...more })
  const release = (client: Client, messageId: number) => client.sendPacket({ cmd: 'pubrel', messageId })

  test('PUBREC comes when the message is stored, and the message is stored once', async () => {
    const setup = await start({ hold: true })
    const client = await connect(setup)
    client.send(publish(1, 'a'))
    await until(() => setup.calls.length === 1, 'the invoke')
    client.send(publish(1, 'a', { dup: true }))
    await aWhile()
    expect(client.of('pubrec')).toEqual([])
    setup.calls[0]?.resolve()
    await client.got('pubrec', 2)
    client.send(publish(1, 'a', { dup: true }))
    await client.got('pubrec', 3)
    release(client, 1)
    await client.got('pubcomp')
    expect(setup.calls).toHaveLength(1)
    client.send(publish(1, 'b'))
    await until(() => setup.calls.length === 2, 'the next message with this packet id')
    setup.calls[1]?.resolve()
    await client.got('pubrec', 4)
  })

  test('a session stores a message once that is sent again over the next connection', async () => {
    const setup = await start({ hold: true })
    const session = {
      clean: false,
      ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 60 } } : {}),
    }
    const client = await connect(setup, session)
    client.send(publish(1, 'a'))
    await until(() => setup.calls.length === 1, 'the invoke')
    client.socket.destroy()
    await gone(setup)
    const back = await connect(setup, session)
    back.send(publish(1, 'a', { dup: true }))
    await aWhile()
    expect(back.of('pubrec')).toEqual([])
    setup.calls[0]?.resolve()
    await back.got('pubrec')
    release(back, 1)
    await back.got('pubcomp')
    expect(setup.calls).toHaveLength(1)
  })

  test('a clean session knows nothing of the one before', async () => {
    const setup = await start()
    const client = await connect(setup)
    client.send(publish(1, 'a'))
    await client.got('pubrec')
    client.socket.destroy()
    await gone(setup)
    const back = await connect(setup)
    back.send(publish(1, 'b'))
    await back.got('pubrec')
    expect(setup.calls).toHaveLength(2)
  })

  test('a message that could not be stored is stored when it is sent again', async () => {
    const setup = await start({ hold: true })
    const session = {
      clean: false,
      ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 60 } } : {}),
    }
    const client = await connect(setup, session)
    client.send(publish(1, 'a'))
    await until(() => setup.calls.length === 1, 'the invoke')
    setup.calls[0]?.reject(new Error('disk full'))
    await client.closes()
    expect(client.of('pubrec')).toEqual([])
    const back = await connect(setup, session)
    back.send(publish(1, 'a', { dup: true }))
    await until(() => setup.calls.length === 2, 'the second invoke')
    setup.calls[1]?.resolve()
    await back.got('pubrec')
  })

  test('MQTT.js with a queue behind the message: all are taken, and stored once', async () => {
    const setup = await start()
    const client = await connectAsync(`mqtt://${host}:${setup.broker.port}`, {
      protocolVersion,
      clientId: '5-queue',
      username: '5',
      password: keyOf(5),
      reconnectPeriod: 20,
    })
    ends.push(() => client.endAsync(true))
    const sent = Array.from({ length: 200 }, (_, index) => String(index))
    await Promise.all(
      sent.map((payload, index) =>
        client.publishAsync(telemetry(5), payload, { qos: (index % 3) as 0 | 1 | 2 }),
      ),
    )
    await until(() => setup.calls.length >= sent.length, 'all of them')
    await aWhile()
    const stored = setup.calls.map(({ event }) => Buffer.from(String(event.payload), 'base64').toString())
    expect(stored.sort()).toEqual(sent.sort())
    expect(client.connected).toBe(true)
  })
})
