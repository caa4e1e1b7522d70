import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect as connectTcp, createServer, type Server } from 'node:net'
import { connectAsync, type IClientOptions } from 'mqtt'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import type { AuthorizerEvent } from '../../../../lib/mqtt/authorizer.ts'
import { makeCertificate } from '../../../../scripts/certificates.ts'
import { describeWith } from '../../../support/backends.ts'
import {
  authorize,
  ends,
  host,
  inbox,
  keyOf,
  rawClient,
  type Setup,
  start,
  telemetry,
} from '../../../support/embedded-broker.ts'
import { temporaryFolder } from '../../../support/temporary.ts'
import { until } from '../../../support/waiting.ts'

describe('ports', () => {
  test('an error names a port that is taken', async () => {
    const server: Server = createServer().listen(0, host)
    await new Promise((resolve) => server.once('listening', resolve))
    ends.push(() => server.close())
    const { port } = server.address() as { port: number }
    await expect(start({ port })).rejects.toThrow(`MQTT_PORT ${port} is taken on ${host}`)
    await expect(start({ wsPort: port })).rejects.toThrow(`MQTT_WS_PORT ${port} is taken on ${host}`)
  })

  test('a port that is `none` is not opened', async () => {
    const { broker } = await start({ port: 'none', wsPort: 0 })
    expect(broker.port).toBeUndefined()
    expect(broker.tlsPort).toBeUndefined()
    expect(broker.wsPort).toBeGreaterThan(0)
  })
})

describe('WebSocket', () => {
  const overWs = (setup: Setup, more: IClientOptions = {}) =>
    connectAsync(`ws://${host}:${setup.broker.wsPort}/mqtt`, {
      protocolVersion: 4,
      reconnectPeriod: 0,
      clientId: '5',
      username: '5',
      password: keyOf(5),
      ...more,
    }).then((client) => {
      client.on('error', () => {})
      ends.push(() => client.endAsync(true))
      return client
    })

  test('carries messages both ways', async () => {
    const setup = await start({ wsPort: 0 })
    const client = await overWs(setup)
    await client.publishAsync(telemetry(5), Buffer.alloc(128 * 1024, 'x'), { qos: 1 })
    expect(String(setup.calls[0]?.event.payload)).toHaveLength(Math.ceil((128 * 1024) / 3) * 4)
    const got = inbox(client)
    await client.subscribeAsync('iotflow/devices/5/commands', { qos: 1 })
    await setup.broker.publish({ topic: 'iotflow/devices/5/commands', payload: 'a', qos: 1, retain: false })
    await until(() => got.length === 1, 'the command')
  })

  const open = (setup: Setup, protocols: string[]) => {
    const socket = new WebSocket(`ws://${host}:${setup.broker.wsPort}/`, protocols)
    ends.push(() => socket.terminate())
    return new Promise<{ socket: WebSocket; status: number }>((resolve) => {
      socket.on('error', () => {})
      socket.on('open', () => resolve({ socket, status: 101 }))
      socket.on('unexpected-response', (_request, response) =>
        resolve({ socket, status: response.statusCode ?? 0 }),
      )
    })
  }

  test('accepts the subprotocols mqtt and mqttv3.1, and no other', async () => {
    const setup = await start({ wsPort: 0 })
    expect((await open(setup, [])).status).toBe(400)
    expect((await open(setup, ['chat'])).status).toBe(400)
    expect((await open(setup, ['chat', 'mqtt'])).socket.protocol).toBe('mqtt')
    expect((await open(setup, ['mqttv3.1'])).socket.protocol).toBe('mqttv3.1')
    expect((await fetch(`http://${host}:${setup.broker.wsPort}/`)).status).toBe(426)
  })

  test.each<[string, Buffer[]]>([
    ['a message of 100 KB', [Buffer.alloc(100_000, 0x10)]],
    ['a CONNECT of 256 MB', [Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f])]],
    ['no CONNECT', [Buffer.from([0xc0, 0])]],
  ])('%s before authentication ends the connection', async (_what, messages) => {
    const setup = await start({ wsPort: 0 })
    const { socket } = await open(setup, ['mqtt'])
    let closed = false
    socket.on('close', () => {
      closed = true
    })
    for (const message of messages) socket.send(message)
    await until(() => closed, 'the connection ends')
    expect(await overWs(setup)).toBeDefined()
  })

  test('a long message before authentication ends the connection before it is complete', async () => {
    const setup = await start({ wsPort: 0 })
    const client = connectTcp(setup.broker.wsPort ?? 0, host)
    let closed = false
    client.on('error', () => {})
    client.on('close', () => {
      closed = true
    })
    ends.push(() => client.destroy())
    client.write(
      'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
        'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n',
    )
    await new Promise((resolve) => client.once('data', resolve))
    // A masked binary frame of 100,000 bytes, of which 10,000 come.
    client.write(Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 1, 0x86, 0xa0, 0, 0, 0, 0]))
    client.write(Buffer.alloc(10_000))
    await until(() => closed, 'the connection ends')
  })

  test('a message of 200 KB ends the connection', async () => {
    const setup = await start({ wsPort: 0 })
    const client = await overWs(setup)
    let closed = false
    client.on('close', () => {
      closed = true
    })
    client.publish(telemetry(5), Buffer.alloc(200 * 1024), { qos: 1 }, () => {})
    await until(() => closed, 'the connection ends')
    expect(setup.calls).toEqual([])
  })

  test('a silent client is disconnected, before and after the upgrade', async () => {
    const setup = await start({ wsPort: 0, limits: { connectTimeoutMs: 200 } })
    const plain = await rawClient(setup.broker.wsPort)
    const { socket } = await open(setup, ['mqtt'])
    let closed = false
    socket.on('close', () => {
      closed = true
    })
    await until(() => closed, 'the WebSocket ends')
    await plain.closes()
  })
})

const openssl = (() => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})()

describeWith({ openssl }, 'TLS', () => {
  test('carries messages, and closes a connection without a handshake', async () => {
    const folder = await temporaryFolder()
    ends.push(() => folder.remove())
    const made = makeCertificate(folder.path, [])
    const tls = { port: 0, cert: readFileSync(made.cert), key: readFileSync(made.key) }
    const events: AuthorizerEvent[] = []
    const setup = await start({
      tls,
      limits: { connectTimeoutMs: 500 },
      authorize: (event) => {
        events.push(event)
        return authorize(event)
      },
    })
    const silent = await rawClient(setup.broker.tlsPort)
    const client = await connectAsync(`mqtts://${host}:${setup.broker.tlsPort}`, {
      protocolVersion: 4,
      reconnectPeriod: 0,
      clientId: '5',
      username: '5',
      password: keyOf(5),
      rejectUnauthorized: false,
    })
    ends.push(() => client.endAsync(true))
    expect(events[0]).toEqual({
      protocols: ['tls', 'mqtt'],
      protocolData: {
        mqtt: { username: '5', password: Buffer.from(keyOf(5)).toString('base64'), clientId: '5' },
      },
      connectionMetadata: { id: expect.any(String), address: host },
    })
    await silent.closes()
    await client.publishAsync(telemetry(5), '1', { qos: 1 })
    expect(setup.calls).toHaveLength(1)
  })

  test('a broken certificate is an error at the start', async () => {
    const started = start({ tls: { port: 0, cert: 'x', key: 'y' } })
    await expect(started).rejects.toThrow('TLS_CERT and TLS_KEY')
  })
})
