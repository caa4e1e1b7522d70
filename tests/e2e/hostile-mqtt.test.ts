/** Packets that no device should send: the broker refuses them, stores nothing, and serves a good device all the time. */
import { eq } from 'drizzle-orm'
import type { MqttClient } from 'mqtt'
import { generate, type Packet, parser } from 'mqtt-packet'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { deadLetters, devices } from '../../lib/registry/schema.ts'
import { type Device, type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { until } from '../support/waiting.ts'
import { openWire, type Wire } from './wire.ts'

const mebibyte = 1024 * 1024
const inMb = (bytes: number) => `${(bytes / mebibyte).toFixed(1)} MB`
const inSeconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`

let server: StandaloneServer
let good: Device
let other: Device
let goodClient: MqttClient
let otherClient: MqttClient
/** Connections that never send anything. They start first, because they take longest. */
let silent: { what: string; wire: Wire }[]

const topicOf = ({ id }: Device, rest = 'telemetry') => `iotflow/devices/${id}/${rest}`

const connectPacket = ({ id, key }: Device, more: object = {}) =>
  generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    clientId: `${id}-wire`,
    keepalive: 0,
    username: `${id}`,
    password: Buffer.from(key),
    ...more,
  })

const publishPacket = (topic: string, payload: string | Buffer = '{"a":1}', more: object = {}) =>
  generate({ cmd: 'publish', topic, payload, qos: 1, messageId: 7, retain: false, dup: false, ...more })

const subscribePacket = (...filters: string[]) =>
  generate({
    cmd: 'subscribe',
    messageId: 9,
    subscriptions: filters.map((topic) => ({ topic, qos: 1 as const })),
  })

/** The packets received so far. */
const packetsOf = (wire: Wire) => {
  const packets: (Packet & Record<string, unknown>)[] = []
  const reader = parser({ protocolVersion: 4 })
  reader.on('packet', (packet) => packets.push(packet as Packet & Record<string, unknown>))
  reader.parse(wire.received())
  return packets
}
const got = (wire: Wire, cmd: string) => packetsOf(wire).filter((packet) => packet.cmd === cmd)
const gets = (wire: Wire, cmd: string, count = 1) =>
  until(() => got(wire, cmd).length >= count, `${count} ${cmd}`)

const wires: Wire[] = []
const open = async (...parts: Uint8Array[]) => {
  const wire = await openWire(server.mqttUrl)
  wires.push(wire)
  wire.send(...parts)
  return wire
}
/** A raw connection that is logged in as the device. */
const openAs = async (device: Device, more: object = {}) => {
  const wire = await open(connectPacket(device, more))
  await gets(wire, 'connack')
  expect(got(wire, 'connack')).toMatchObject([{ returnCode: 0 }])
  return wire
}

beforeAll(async () => {
  // Request limits are off: they would refuse most packets first, and have tests of their own.
  server = await startStandaloneServer({
    settings: {
      RATE_LIMIT_PER_MINUTE: '0',
      RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
      RATE_LIMIT_IP_PER_MINUTE: '0',
    },
  })
  good = await server.register('good')
  other = await server.register('other')
  goodClient = await server.mqtt(good)
  otherClient = await server.mqtt(other)
  silent = [
    { what: 'nothing', wire: await open() },
    { what: 'the first byte of a CONNECT', wire: await open(Buffer.from([0x10])) },
    { what: 'half a CONNECT', wire: await open(connectPacket(good).subarray(0, 20)) },
  ]
})

afterAll(async () => {
  for (const wire of wires) wire.destroy()
  await Promise.all([goodClient?.endAsync(true), otherClient?.endAsync(true)])
  await server?.stop()
})

/** Expects that both good devices are still connected, that a message of one is stored, and that HTTP answers. */
const expectWell = async () => {
  process.kill(server.pid, 0)
  expect([goodClient.connected, otherClient.connected]).toEqual([true, true])
  const { readings } = await server.stored()
  await goodClient.publishAsync(topicOf(good), '{"well":true}', { qos: 1 })
  expect((await server.stored()).readings).toBe(readings + 1)
  expect((await server.request('GET', '/health')).body).toMatchObject({ status: 'healthy' })
}

/** Runs the attempt and expects that nothing was stored, and that a good device is served before and after. */
const withoutTrace = async (attempt: () => Promise<void>) => {
  await expectWell()
  const before = await server.stored()
  await attempt()
  expect(await server.stored()).toEqual(before)
  await expectWell()
}

const answerTo = async (packet: Buffer): Promise<unknown> => {
  const wire = await open(packet)
  await wire.closes
  return got(wire, 'connack')[0]?.returnCode
}

describe('256 MB', () => {
  /** The largest length that a fixed header can announce. */
  const huge = (firstByte: number) => Buffer.from([firstByte, 0xff, 0xff, 0xff, 0x7f])
  const size = 256 * mebibyte

  const growthDuring = async (attempt: () => Promise<unknown>) => {
    const before = server.rss()
    let most = before
    const watch = setInterval(() => {
      most = Math.max(most, server.rss())
    }, 10)
    await attempt().finally(() => clearInterval(watch))
    return Math.max(most, server.rss()) - before
  }

  it.each([
    ['as a CONNECT', () => open(huge(0x10))],
    [
      'as the PUBLISH of a device',
      async () => {
        const wire = await openAs(good)
        wire.send(huge(0x32))
        return wire
      },
    ],
    [
      'in one frame of a WebSocket',
      async () => {
        const wire = await openWire(server.wsUrl)
        wires.push(wire)
        wire.send(
          'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
            'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n',
        )
        await until(() => wire.received().includes(' 101 '), 'the upgrade')
        wire.send(Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0]), huge(0x10))
        return wire
      },
    ],
  ] as const)('%s are refused after their first bytes, without using memory', (what, begin) =>
    withoutTrace(async () => {
      let taken = 0
      const growth = await growthDuring(async () => {
        const wire = await begin()
        taken = await wire.stream(size)
        await wire.closes
      })
      console.log(`256 MB ${what}: ${inMb(taken)} left us, resident memory grew by ${inMb(growth)}`)
      expect(taken).toBeLessThan(32 * mebibyte)
      expect(growth).toBeLessThan(64 * mebibyte)
    }),
  )
})

/** Connections that stay open during all following tests. */
const crowd: Wire[] = []

it('2,000 connections without CONNECT do not keep a device from connecting', async () => {
  const before = server.rss()
  const sockets = server.sockets()
  crowd.push(...(await Promise.all(Array.from({ length: 2000 }, () => open()))))
  await until(() => server.sockets() >= sockets + 2000, 'all of them accepted')
  await expectWell()
  const late = await server.register('late')
  const lateClient = await server.mqtt(late)
  await lateClient.publishAsync(topicOf(late), '{"a":1}', { qos: 1 })
  await lateClient.endAsync()
  expect((await server.request('GET', `/api/v1/telemetry/${late.id}/latest`)).body.latest_data.a).toBe(1)
  expect(crowd.filter((wire) => wire.isClosed())).toEqual([])
  console.log(
    `2,000 connections without CONNECT: resident memory ${inMb(before)} before, ${inMb(server.rss())} with them`,
  )
})

describe('CONNECT is refused', () => {
  it.each<[string, () => Buffer | Promise<Buffer>, unknown]>([
    ["under another device's client id", () => connectPacket(good, { clientId: `${other.id}` }), 2],
    [
      'under a client id that only begins with its id',
      () => connectPacket(good, { clientId: `${good.id}0` }),
      2,
    ],
    ["with another device's key", () => connectPacket(good, { password: Buffer.from(other.key) }), 4],
    ['with a wrong key', () => connectPacket(good, { password: Buffer.from('x'.repeat(32)) }), 4],
    ['with no key', () => connectPacket(good, { password: undefined }), 4],
    [
      'for a device that is inactive',
      async () => {
        const device = await server.register()
        await server.withRegistry((db) =>
          db.update(devices).set({ status: 'inactive' }).where(eq(devices.id, device.id)),
        )
        return connectPacket(device)
      },
      4,
    ],
    [
      'in an unknown MQTT version',
      () => {
        const packet = connectPacket(good)
        packet[8] = 99
        return packet
      },
      undefined,
    ],
    [
      'with a persistent session and no client id',
      () => {
        // The codec refuses to build this packet. Byte 9 holds the flags; 2 means clean session.
        const packet = connectPacket(good, { clientId: '' })
        packet[9] = (packet[9] ?? 0) & ~2
        return packet
      },
      2,
    ],
    [
      'with a retained will on the status topic of another device',
      () =>
        connectPacket(good, {
          will: {
            topic: topicOf(other, 'status/offline'),
            payload: Buffer.from('gone'),
            qos: 1,
            retain: true,
          },
        }),
      5,
    ],
    [
      'with a will on the telemetry topic of another device',
      () =>
        connectPacket(good, {
          will: { topic: topicOf(other), payload: Buffer.from('{"a":1}'), qos: 0, retain: false },
        }),
      5,
    ],
  ])('%s', async (_what, packet, code) => {
    const bytes = await packet()
    await withoutTrace(async () => {
      expect(await answerTo(bytes)).toBe(code)
    })
  })

  it('not without a client id: the broker assigns one', async () => {
    const wire = await openAs(good, { clientId: '' })
    wire.send(publishPacket(topicOf(good)))
    await gets(wire, 'puback')
    wire.destroy()
  })
})

describe('the broker ends the connection', () => {
  const withByte = (topic: string, byte: number) => {
    const packet = publishPacket(`${topic}/x`)
    packet[packet.indexOf(`${topic}/x`) + topic.length + 1] = byte
    return packet
  }

  it.each<[string, () => Buffer]>([
    ["a message on another device's topic", () => publishPacket(topicOf(other))],
    [
      "a message with QoS 0 on another device's topic",
      () => publishPacket(topicOf(other), '{"a":1}', { qos: 0 }),
    ],
    [
      'a retained status of another device',
      () => publishPacket(topicOf(other, 'status/offline'), 'x', { retain: true }),
    ],
    ['a command that the device sends to itself', () => publishPacket(topicOf(good, 'commands'))],
    ['a message on a $SYS topic', () => publishPacket('$SYS/broker/uptime')],
    ['a message on an $aws topic', () => publishPacket(`$aws/things/${good.id}/shadow/update`)],
    ['retained telemetry', () => publishPacket(topicOf(good), '{"a":1}', { retain: true })],
    ['an answer on a topic of two levels', () => publishPacket(topicOf(good, 'commands/a/b/response'))],
    ['an empty topic', () => Buffer.from([0x30, 2, 0, 0])],
    ['an empty device id in the topic', () => publishPacket('iotflow/devices//telemetry')],
    ['an empty level before the topic', () => publishPacket(`/${topicOf(good)}`)],
    ['an empty level in the topic', () => publishPacket(`iotflow/devices/${good.id}//telemetry`)],
    ['a message on a topic with a wildcard', () => withByte(topicOf(good), 0x2b)],
    ['a topic that is not UTF-8', () => withByte(topicOf(good), 0xff)],
    ['a topic with NUL', () => withByte(topicOf(good), 0)],
    ['a topic longer than its packet', () => Buffer.from([0x30, 3, 0, 9, 0x61])],
    ['a message with both QoS bits set', () => Buffer.from([0x36, 4, 0, 1, 0x61, 0])],
    ['a subscription to a+', () => subscribePacket(topicOf(good, 'commands/a+'))],
    ['a subscription to #/a', () => subscribePacket('#/a')],
    ['a subscription without a topic', () => Buffer.from([0x82, 5, 0, 9, 0, 0, 1])],
    ['a second CONNECT', () => connectPacket(good)],
    ['a packet that only servers send', () => Buffer.from([0x20, 2, 0, 0])],
    ['a packet of an unknown type', () => Buffer.from([0xf0, 2, 0, 0])],
    [
      'a payload of 128 KiB and one byte',
      () => publishPacket(topicOf(good), Buffer.alloc(128 * 1024 + 1, ' ')),
    ],
  ])('after %s, without an acknowledgement', (_what, packet) =>
    withoutTrace(async () => {
      const wire = await openAs(good)
      wire.send(packet(), publishPacket(topicOf(good)))
      await wire.closes
      expect(packetsOf(wire).map(({ cmd }) => cmd)).toEqual(['connack'])
    }),
  )

  it('after a message before CONNECT', () =>
    withoutTrace(async () => {
      const wire = await open(publishPacket(topicOf(good)), connectPacket(good))
      await wire.closes
      expect(wire.received()).toHaveLength(0)
    }))

  it('when the client ends it within a packet, and stores nothing of the packet', () =>
    withoutTrace(async () => {
      const connect = connectPacket(good)
      const publish = publishPacket(topicOf(good))
      const cuts = [
        ...Array.from(connect.keys(), (at) => [connect.subarray(0, at)]),
        ...Array.from(publish.keys(), (at) => [connect, publish.subarray(0, at)]),
      ]
      await Promise.all(
        cuts.map(async (parts) => {
          const wire = await open(...parts)
          if (parts.length > 1)
            await until(() => wire.isClosed() || got(wire, 'connack').length > 0, 'CONNACK')
          wire.end()
          await wire.closes
          expect(got(wire, 'puback')).toEqual([])
        }),
      )
    }))
})

it('a payload of 128 KiB is accepted', async () => {
  const values = Object.fromEntries(
    Array.from({ length: 32 }, (_, index) => [`note${index}`, 'x'.repeat(4000)]),
  )
  const payload = JSON.stringify(values).padEnd(128 * 1024)
  const { readings } = await server.stored()
  await otherClient.publishAsync(topicOf(other), payload, { qos: 1 })
  expect((await server.stored()).readings).toBe(readings + 1)
})

it('a device receives only its own messages, whatever it subscribes to', async () => {
  await otherClient.publishAsync(topicOf(other, 'status/online'), '{"status":"online"}', {
    qos: 1,
    retain: true,
  })
  const filters = ['#', '+/#', '/#', 'iotflow/#', 'iotflow/devices/+/telemetry', 'iotflow/devices/+/status/#']
  filters.push(topicOf(other), topicOf(other, '#'), topicOf(other, 'commands'), topicOf(other, 'config'))
  filters.push(
    '$share/g/#',
    `$share/g/${topicOf(good, 'commands')}`,
    '$share//#',
    '$SYS/#',
    '$aws/#',
    '$queue/#',
  )
  filters.push(topicOf(good), topicOf(good, '+'), topicOf(good, '#'), topicOf(good, '+/control'))
  await withoutTrace(async () => {
    const wire = await openAs(good)
    wire.send(subscribePacket(...filters, topicOf(good, 'commands')))
    await gets(wire, 'suback')
    const granted = got(wire, 'suback')[0]?.granted
    expect(granted).toEqual([...filters.map(() => 128), 1])
    const before = await server.stored()
    await otherClient.publishAsync(topicOf(other, 'status/heartbeat'), '{}', { qos: 1 })
    await otherClient.publishAsync(topicOf(other, 'commands/response'), '{}', { qos: 1 })
    expect(await server.stored()).toEqual(before)
    wire.send(Buffer.from([0xc0, 0]))
    await gets(wire, 'pingresp')
    expect(packetsOf(wire).map(({ cmd }) => cmd)).toEqual(['connack', 'suback', 'pingresp'])
    wire.destroy()
  })
})

it('broken JSON is acknowledged and becomes a dead letter, without the API keys in it', async () => {
  const before = await server.stored()
  const secret = good.key
  for (const payload of [
    `{"api_key": "${secret}", "a": 1,`,
    `{"a":{"api_key":"${secret}`,
    `[{"api_key":${secret}}]`,
    '\xff\xfe',
    '',
  ])
    await goodClient.publishAsync(topicOf(good, 'telemetry/sensors'), Buffer.from(payload, 'latin1'), {
      qos: 1,
    })
  expect(await server.stored()).toEqual({ ...before, deadLetters: before.deadLetters + 5 })
  const kept = await server.withRegistry((db) =>
    db.select().from(deadLetters).where(eq(deadLetters.deviceId, good.id)).orderBy(deadLetters.id),
  )
  expect(kept.map(({ payload }) => payload.toString('latin1'))).toEqual([
    '{"api_key": "", "a": 1,',
    '{"a":{"api_key":""',
    '[{"api_key":""}]',
    '\xff\xfe',
    '',
  ])
  expect(kept[0]).toMatchObject({
    topic: topicOf(good, 'telemetry/sensors'),
    reason: 'The body is not valid JSON.',
  })
  expect(kept.map(({ reason }) => reason)).toMatchObject({
    3: 'The body is not valid JSON.',
    4: expect.stringContaining('empty'),
  })
  await expectWell()
})

it('the broker closes all 2,000 connections without CONNECT after 10 s', async () => {
  for (const { what, wire } of silent)
    console.log(`${what} and silence: ended after ${inSeconds(await wire.closes)}`)
  const times = await Promise.all(crowd.map(({ closes }) => closes))
  console.log(
    `2,000 connections without CONNECT: ended after ${inSeconds(Math.min(...times))} to ${inSeconds(Math.max(...times))}, resident memory ${inMb(server.rss())} then`,
  )
  for (const wire of [...crowd, ...silent.map(({ wire }) => wire)]) expect(wire.received()).toHaveLength(0)
  await expectWell()
})

it('the log contains no key and no error', () => {
  const log = server.log()
  expect(log.filter(({ level }) => level === 'error')).toEqual([])
  for (const { key } of [good, other]) expect(JSON.stringify(log)).not.toContain(key)
})
