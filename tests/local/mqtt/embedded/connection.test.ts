import { connect as connectTcp, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import {
  answerTo,
  aWhile,
  connectPacket,
  device,
  ends,
  host,
  publishPacket,
  rawClient,
  rawDevice,
  start,
  subscribePacket,
  telemetry,
} from '../../../support/embedded-broker.ts'
import { until } from '../../../support/waiting.ts'

describe('limits of a connection', () => {
  test.each([
    ['nothing', Buffer.alloc(0)],
    ['half a CONNECT', connectPacket(5).subarray(0, 10)],
  ])('a client that sends %s and then nothing is disconnected', async (_what, bytes) => {
    const setup = await start({ limits: { connectTimeoutMs: 500 } })
    const client = await rawClient(setup.broker.port)
    client.send(bytes)
    await aWhile(50)
    expect(client.isClosed()).toBe(false)
    await client.closes()
    expect(client.packets).toEqual([])
  })

  test('an incomplete packet after CONNECT ends the connection, silence between packets does not', async () => {
    const setup = await start({ limits: { packetTimeoutMs: 150 } })
    const silent = await rawDevice(setup, 5)
    const half = await rawDevice(setup, 6)
    half.send(publishPacket(telemetry(6), 'x'.repeat(100), 1).subarray(0, 50))
    await half.closes()
    await aWhile(200)
    silent.send(publishPacket(telemetry(5), '1', 1))
    await silent.got('puback')
    expect(setup.calls).toHaveLength(1)
  })

  /** Sends until the connection ends or `bytes` are sent. Returns the number of bytes that the system accepted. */
  const stream = async (socket: Socket, first: Buffer, bytes: number): Promise<number> => {
    const chunk = Buffer.alloc(65_536)
    let sent = 0
    socket.write(first)
    while (sent < bytes && !socket.destroyed && socket.writable) {
      sent += chunk.length
      if (!socket.write(chunk))
        await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), aWhile(500)])
    }
    return sent
  }

  test('a packet of 256 MB is refused at its header, before and after CONNECT, and uses no memory', async () => {
    const setup = await start()
    const huge = (type: number) => Buffer.from([type, 0x80, 0x80, 0x80, 0x80 - 1])
    const before = process.memoryUsage().rss
    const client = await rawClient(setup.broker.port)
    expect(await stream(client.socket, huge(0x10), 256 * 1024 * 1024)).toBeLessThan(32 * 1024 * 1024)
    await client.closes()
    const known = await rawDevice(setup, 5)
    expect(await stream(known.socket, huge(0x30), 256 * 1024 * 1024)).toBeLessThan(32 * 1024 * 1024)
    await known.closes()
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024)
  })

  test('at most 4 KB may arrive before authentication', async () => {
    const setup = await start()
    expect(await answerTo(setup, connectPacket(5, { clientId: `5-${'x'.repeat(3900)}` }))).toBe(2)
    const client = await rawClient(setup.broker.port)
    client.send(connectPacket(5, { clientId: `5-${'x'.repeat(4096)}` }))
    await client.closes()
    expect(client.packets).toEqual([])
  })

  test('2,000 silent connections are closed in time, while a real client works', async () => {
    const setup = await start({ limits: { connectTimeoutMs: 1500 } })
    const good = await device(setup, 5)
    const sockets: Socket[] = []
    let closed = 0
    for (let index = 0; index < 2000; index++) {
      const socket = connectTcp(setup.broker.port ?? 0, host)
      socket.on('error', () => {})
      socket.on('close', () => closed++)
      sockets.push(socket)
      if (index % 100 === 99) await new Promise<void>((resolve) => socket.once('connect', () => resolve()))
    }
    ends.push(() => {
      for (const socket of sockets) socket.destroy()
    })
    await good.publishAsync(telemetry(5), '1', { qos: 1 })
    const another = await device(setup, 6)
    await another.publishAsync(telemetry(6), '1', { qos: 1 })
    expect(closed).toBeLessThan(2000)
    await until(() => closed === 2000, 'all silent ones have gone')
    await good.publishAsync(telemetry(5), '2', { qos: 1 })
    expect(setup.broker.connected()).toBe(2)
  })

  test('one unauthenticated connection too many closes the oldest one', async () => {
    const setup = await start({ limits: { maxPending: 3 } })
    const good = await rawDevice(setup, 5)
    const clients: Awaited<ReturnType<typeof rawClient>>[] = []
    for (let index = 0; index < 5; index++) clients.push(await rawClient(setup.broker.port))
    await clients[1]?.closes()
    await aWhile()
    expect(clients.map((client) => client.isClosed())).toEqual([true, true, false, false, false])
    expect(good.isClosed()).toBe(false)
    expect(await answerTo(setup, connectPacket(6))).toBe(0)
  })

  test('too many failed logins from an address refuse new connections, and keep the open ones', async () => {
    const setup = await start({ limits: { authFailuresPerMinutePerIp: 3 } })
    const good = await rawDevice(setup, 5)
    const wrong = connectPacket(6, { password: Buffer.from('no') })
    for (let index = 0; index < 4; index++) expect(await answerTo(setup, wrong)).toBe(4)
    const refused = await rawClient(setup.broker.port)
    refused.send(connectPacket(6))
    await refused.closes()
    expect(refused.packets).toEqual([])
    good.send(publishPacket(telemetry(5), '1', 1))
    await good.got('puback')
  })

  test.each<[string, Buffer]>([
    ['a length of five bytes', Buffer.from([0x30, 0x80, 0x80, 0x80, 0x80, 1])],
    ['a second CONNECT', connectPacket(5)],
    ['both QoS bits', Buffer.from([0x36, 4, 0, 1, 0x61, 0])],
    ['a SUBSCRIBE with wrong flags', Buffer.from([0x80, 6, 0, 1, 0, 1, 0x61, 0])],
    ['a SUBSCRIBE of nothing', Buffer.from([0x82, 0])],
    ['a SUBSCRIBE cut short', Buffer.from([0x82, 4, 0, 1, 0, 9])],
    ['a SUBSCRIBE of 100 KB', Buffer.from([0x82, 0xa0, 0x8d, 0x06])],
    ['a topic longer than its packet', Buffer.from([0x30, 3, 0, 9, 0x61])],
    ['an empty topic', Buffer.from([0x30, 2, 0, 0])],
    ['a CONNACK', Buffer.from([0x20, 2, 0, 0])],
    ['an AUTH', Buffer.from([0xf0, 2, 0, 0])],
    ['a reserved type', Buffer.from([0x00, 0])],
    ['a topic of 200 levels', publishPacket(`${telemetry(5)}/${'a/'.repeat(200)}`, '1', 1)],
  ])('%s ends its connection and no other', async (_what, bytes) => {
    const setup = await start()
    const other = await rawDevice(setup, 6)
    const client = await rawDevice(setup, 5)
    client.send(bytes)
    await client.closes()
    other.send(publishPacket(telemetry(6), '1', 1))
    await other.got('puback')
    expect(setup.broker.connected()).toBe(1)
  })

  test('a client that reads nothing does not delay others', async () => {
    const setup = await start()
    const commands = 'iotflow/devices/5/commands'
    const deaf = await rawDevice(setup, 5)
    deaf.send(subscribePacket(commands))
    await deaf.got('suback')
    deaf.socket.pause()
    const payload = Buffer.alloc(100_000)
    const flood = Array.from({ length: 200 }, () =>
      setup.broker.publish({ topic: commands, payload, qos: 0, retain: false }),
    )
    const good = await rawDevice(setup, 6)
    good.send(publishPacket(telemetry(6), '1', 1), publishPacket(telemetry(6), '2', 2))
    await good.got('puback', 2)
    const commandsOfSix = 'iotflow/devices/6/commands'
    good.send(subscribePacket(commandsOfSix))
    await good.got('suback')
    await setup.broker.publish({ topic: commandsOfSix, payload: 'x', qos: 1, retain: false })
    await good.got('publish')
    expect(deaf.of('publish').length).toBeLessThan(200)
    // Each publish resolves although the client never reads.
    await Promise.all(flood)
  })
})
