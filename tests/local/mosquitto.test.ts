import { readFileSync } from 'node:fs'
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import {
  accountCommands,
  controlTopic,
  disableCommands,
  enableCommands,
  removeCommands,
} from '../../lib/mqtt/accounts.ts'
import { makeCertificate } from '../../local/certificates.ts'
import { connectMosquitto, type Mosquitto } from '../../local/mosquitto.ts'
import { describeWith } from '../support/backends.ts'
import { freePort } from '../support/free-port.ts'
import { hasMosquitto, type MosquittoServer, startMosquitto } from '../support/mosquitto.ts'
import { temporaryFolder } from '../support/temporary.ts'

describeWith({ mosquitto: hasMosquitto }, 'accounts at a Mosquitto', () => {
  let server: MosquittoServer
  let layer: Mosquitto
  const clients: MqttClient[] = []
  const say = (commands: readonly object[]) =>
    layer.publish({ topic: controlTopic, payload: JSON.stringify({ commands }), qos: 1, retain: false })
  beforeAll(async () => {
    server = await startMosquitto()
    layer = connectMosquitto(server.layer)
    await layer.ready
    for (const id of [1, 2]) await say(accountCommands(id, `key-${id}`))
  })
  afterAll(async () => {
    for (const client of clients) await client.endAsync(true)
    await layer?.close()
    await server?.end()
  })

  const connect = async (id: number, options: IClientOptions = {}, url = server.url) => {
    const client = await connectAsync(url, {
      username: String(id),
      password: `key-${id}`,
      clientId: String(id),
      protocolVersion: 5,
      reconnectPeriod: 0,
      ...options,
    })
    client.on('error', () => {})
    clients.push(client)
    return client
  }
  const refused = (id: number, options: IClientOptions) =>
    connect(id, options).then(
      () => 'let in',
      () => 'refused',
    )
  const ended = (client: MqttClient) => vi.waitFor(() => expect(client.connected).toBe(false), 5000)

  it.each([
    ['MQTT 5', 5, 'url'],
    ['MQTT 3.1.1', 4, 'url'],
    ['a WebSocket', 5, 'wsUrl'],
  ] as const)('let a device in over %s', async (_, protocolVersion, url) => {
    const client = await connect(1, { protocolVersion, path: '' }, server[url])
    await client.publishAsync('iotflow/devices/1/telemetry', '{}', { qos: 1 })
    await client.endAsync()
  })

  it('let a device in over TLS that trusts the certificate, and no other', async () => {
    const folder = await temporaryFolder()
    const { cert, key } = makeCertificate(folder.path, [])
    const port = await freePort()
    const secure = await startMosquitto({ tls: { port, cert, key } })
    const teller = connectMosquitto(secure.layer)
    await teller.ready
    await teller.control(accountCommands(1, 'key-1'))
    const url = `mqtts://localhost:${port}`
    const client = await connect(1, { ca: [readFileSync(cert)] }, url)
    await client.publishAsync('iotflow/devices/1/telemetry', '{}', { qos: 1 })
    await client.endAsync()
    expect(
      await connect(1, {}, url).then(
        () => 'let in',
        () => 'refused',
      ),
    ).toBe('refused')
    await teller.close()
    await secure.end()
    await folder.remove()
  })

  it.each([
    ['a wrong key', { password: 'wrong' }],
    ['no key', { password: '' }],
    ["another's name", { username: '2', password: 'key-1' }],
    ['an unknown name', { username: '3' }],
    ["the layer's name", { username: 'iotflow' }],
  ])('keep out %s', async (_, options) => {
    expect(await refused(1, options)).toBe('refused')
  })

  it('keep out who has no name', async () => {
    await expect(connectAsync(server.url, { reconnectPeriod: 0 })).rejects.toThrow()
  })

  it('give no client the session of another one, whatever id it names', async () => {
    const own = await connect(1, { clean: false, properties: { sessionExpiryInterval: 60 } })
    for (const clientId of ['1', 'iotflow-device-1', 'device_1-x', '1-a', ''])
      await (await connect(2, { clientId, clean: true })).endAsync()
    expect(own.connected).toBe(true)
    await own.publishAsync('iotflow/devices/1/telemetry', '{}', { qos: 1 })
    await own.endAsync()
  })

  it('keep a device out of the session of the layer, also where the listener gives out no ids', async () => {
    const intruder = connectAsync(server.layer.url, {
      reconnectPeriod: 0,
      username: '1',
      password: 'key-1',
      clientId: 'iotflow-bridge',
      clean: true,
    })
    await expect(intruder).rejects.toThrow()
  })

  describe('let a device', () => {
    /** What reaches the broker's other side. */
    const arrives = async (topic: string, publish: (client: MqttClient) => Promise<unknown>) => {
      const seen: string[] = []
      const observer = await connectAsync(server.layer.url, {
        username: server.layer.username,
        password: server.layer.password,
      })
      clients.push(observer)
      observer.on('message', (at) => void seen.push(at))
      await observer.subscribeAsync('#', { qos: 1 })
      const client = await connect(1)
      await publish(client).catch(() => undefined)
      await observer.publishAsync('the/end', '', { qos: 1 })
      await vi.waitFor(() => expect(seen).toContain('the/end'))
      await Promise.all([client.endAsync(true), observer.endAsync(true)])
      return seen.includes(topic)
    }

    it.each([
      ['iotflow/devices/1/telemetry', true],
      ['iotflow/devices/1/telemetry/lab', true],
      ['iotflow/devices/1/status/online', true],
      ['iotflow/devices/1/status/offline', true],
      ['iotflow/devices/1/status/heartbeat', true],
      ['iotflow/devices/1/commands/response', true],
      ['iotflow/devices/1/config/reported', true],
      ['iotflow/devices/1/status/other', false],
      ['iotflow/devices/1/commands', false],
      ['iotflow/devices/1/config', false],
      ['iotflow/devices/2/telemetry', false],
      ['iotflow/devices/2/status/online', false],
      ['iotflow/fleet/notices/all', false],
      ['anything', false],
    ])('publish to %s: %s', async (topic, allowed) => {
      expect(await arrives(topic, (client) => client.publishAsync(topic, '{}', { qos: 1 }))).toBe(allowed)
    })

    it.each([
      ['iotflow/devices/1/status/offline', true],
      ['iotflow/devices/2/status/offline', false],
    ])('leave a will on %s: %s', async (topic, allowed) => {
      const seen = await arrives(topic, async () => {
        const client = await connect(1, {
          will: { topic, payload: Buffer.from('{}'), qos: 1, retain: false },
        })
        client.stream.destroy()
        await ended(client)
        await new Promise((resolve) => setTimeout(resolve, 300))
      })
      expect(seen).toBe(allowed)
    })

    it.each([
      ['iotflow/devices/1/commands', true],
      ['iotflow/devices/1/commands/#', true],
      ['iotflow/devices/1/config', true],
      ['iotflow/fleet/notices/#', true],
      ['iotflow/devices/1/telemetry', false],
      ['iotflow/devices/2/commands', false],
      ['iotflow/devices/+/commands', false],
      ['iotflow/devices/1/#', false],
      ['#', false],
      ['+/devices/1/commands', false],
      ['$share/group/iotflow/devices/2/commands', false],
      ['$SYS/#', false],
      ['$CONTROL/#', false],
      ['$CONTROL/dynamic-security/v1/response', false],
    ])('subscribe to %s: %s', async (filter, allowed) => {
      const client = await connect(1)
      const granted = await client.subscribeAsync(filter, { qos: 1 }).then(
        (list) => list.every(({ qos }) => qos < 128),
        () => false,
      )
      await client.endAsync(true)
      expect(granted).toBe(allowed)
    })

    it('hear its commands, and not its own answers among them', async () => {
      const client = await connect(1)
      const heard: string[] = []
      client.on('message', (topic) => void heard.push(topic))
      await client.subscribeAsync('iotflow/devices/1/commands/#', { qos: 1 })
      await client.publishAsync('iotflow/devices/1/commands/response', '{}', { qos: 1 })
      for (const topic of ['iotflow/devices/1/commands', 'iotflow/devices/1/commands/reboot'])
        await layer.publish({ topic, payload: '{}', qos: 1, retain: false })
      await vi.waitFor(() => expect(heard).toContain('iotflow/devices/1/commands/reboot'))
      expect(heard).toEqual(['iotflow/devices/1/commands', 'iotflow/devices/1/commands/reboot'])
      await client.endAsync()
    })

    it('not change any account', async () => {
      const client = await connect(1)
      const payload = JSON.stringify({ commands: removeCommands(2) })
      await client.publishAsync(controlTopic, payload, { qos: 1 }).catch(() => undefined)
      await client.endAsync(true)
      await (await connect(2)).endAsync()
    })

    it('hear what the layer says to it, retained too', async () => {
      const topic = 'iotflow/devices/1/config'
      await layer.publish({ topic, payload: '{"version":1}', qos: 1, retain: true })
      const client = await connect(1)
      const heard: string[] = []
      client.on('message', (_topic, payload) => void heard.push(payload.toString()))
      await client.subscribeAsync(topic, { qos: 1 })
      await vi.waitFor(() => expect(heard).toEqual(['{"version":1}']))
      await layer.publish({ topic: 'iotflow/devices/1/commands', payload: 'x', qos: 1, retain: false })
      await client.endAsync()
    })
  })

  it.each([
    ['is switched off', () => say(disableCommands(1)), () => say(enableCommands(1))],
    ['has a new key', () => say(accountCommands(1, 'another')), () => say(accountCommands(1, 'key-1'))],
    ['is gone', () => say(removeCommands(1)), () => say(accountCommands(1, 'key-1'))],
  ])('end the connection of a device that %s, and keep it out', async (_, away, back) => {
    const client = await connect(1)
    await away()
    await ended(client)
    expect(await refused(1, {})).toBe('refused')
    await back()
    await (await connect(1)).endAsync()
  })

  it('end a connection without touching the account', async () => {
    const client = await connect(1)
    expect(await layer.disconnect('iotflow-device-1', { cleanSession: true, preventWill: true })).toBe(true)
    await ended(client)
    await (await connect(1)).endAsync()
  })

  it('say so when the broker refuses or is away', async () => {
    await expect(say([{ command: 'createClient' }])).rejects.toThrow(/refuses createClient/)
    await server.kill()
    await expect(say(disableCommands(1))).rejects.toThrow()
    await server.start()
    await vi.waitFor(() => say(disableCommands(1)), 10_000)
    expect(await refused(1, {})).toBe('refused')
    await say(enableCommands(1))
  })
})
