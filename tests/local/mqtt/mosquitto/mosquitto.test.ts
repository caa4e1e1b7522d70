import { readFileSync } from 'node:fs'
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  accountCommands,
  controlTopic,
  disableCommands,
  enableCommands,
  removeCommands,
} from '../../../../lib/broker/dynamic-security.ts'
import { defaultTopics } from '../../../../lib/mqtt/topics.ts'
import { connectMosquitto, type Mosquitto } from '../../../../local/mqtt/mosquitto/client.ts'
import { makeCertificate } from '../../../../scripts/certificates.ts'
import { describeWith } from '../../../support/backends.ts'
import { freePort } from '../../../support/free-port.ts'
import { answerMs, hasMosquitto, type MosquittoServer, startMosquitto } from '../../../support/mosquitto.ts'
import { temporaryFolder } from '../../../support/temporary.ts'
import { eventually } from '../../../support/waiting.ts'

describeWith({ mosquitto: hasMosquitto }, 'accounts at a Mosquitto', () => {
  let server: MosquittoServer
  let mosquitto: Mosquitto
  const clients: MqttClient[] = []
  const sendCommands = (commands: readonly object[]) =>
    mosquitto.publish({ topic: controlTopic, payload: JSON.stringify({ commands }), qos: 1, retain: false })
  beforeAll(async () => {
    server = await startMosquitto()
    mosquitto = connectMosquitto(server.serverLogin, answerMs)
    await mosquitto.ready
    for (const id of [1, 2]) await sendCommands(accountCommands(defaultTopics, id, `key-${id}`))
  })
  afterAll(async () => {
    for (const client of clients) await client.endAsync(true)
    await mosquitto?.close()
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
      () => 'accepted',
      () => 'refused',
    )
  const ended = (client: MqttClient) => eventually(() => expect(client.connected).toBe(false))

  it.each([
    ['MQTT 5', 5, 'url'],
    ['MQTT 3.1.1', 4, 'url'],
    ['a WebSocket', 5, 'wsUrl'],
  ] as const)('accept a device over %s', async (_, protocolVersion, url) => {
    const client = await connect(1, { protocolVersion, path: '' }, server[url])
    await client.publishAsync('iotflow/devices/1/telemetry', '{}', { qos: 1 })
    await client.endAsync()
  })

  it('accept a device over TLS that trusts the certificate, and no other', async () => {
    const folder = await temporaryFolder()
    const { cert, key } = makeCertificate(folder.path, [])
    const port = await freePort()
    const secure = await startMosquitto({ tls: { port, cert, key } })
    const serverClient = connectMosquitto(secure.serverLogin, answerMs)
    await serverClient.ready
    await serverClient.sendCommands(accountCommands(defaultTopics, 1, 'key-1'))
    const url = `mqtts://localhost:${port}`
    const client = await connect(1, { ca: [readFileSync(cert)] }, url)
    await client.publishAsync('iotflow/devices/1/telemetry', '{}', { qos: 1 })
    await client.endAsync()
    expect(
      await connect(1, {}, url).then(
        () => 'accepted',
        () => 'refused',
      ),
    ).toBe('refused')
    await serverClient.close()
    await secure.end()
    await folder.remove()
  })

  it.each([
    ['a wrong key', { password: 'wrong' }],
    ['no key', { password: '' }],
    ["another's name", { username: '2', password: 'key-1' }],
    ['an unknown name', { username: '3' }],
    ["the server's name", { username: 'iotflow' }],
  ])('refuse a client with %s', async (_, options) => {
    expect(await refused(1, options)).toBe('refused')
  })

  it('refuse a client without a user name', async () => {
    await expect(connectAsync(server.url, { reconnectPeriod: 0 })).rejects.toThrow()
  })

  it('give no client the session of another one, whatever client id it uses', async () => {
    const own = await connect(1, { clean: false, properties: { sessionExpiryInterval: 60 } })
    for (const clientId of ['1', 'iotflow-device-1', 'device_1-x', '1-a', ''])
      await (await connect(2, { clientId, clean: true })).endAsync()
    expect(own.connected).toBe(true)
    await own.publishAsync('iotflow/devices/1/telemetry', '{}', { qos: 1 })
    await own.endAsync()
  })

  it('keep a device out of the session of the server, also on the internal listener', async () => {
    const intruder = connectAsync(server.serverLogin.url, {
      reconnectPeriod: 0,
      username: '1',
      password: 'key-1',
      clientId: 'iotflow-bridge',
      clean: true,
    })
    await expect(intruder).rejects.toThrow()
  })

  describe('let a device', () => {
    /** Returns whether a subscriber with all rights gets a message on this topic. */
    const arrives = async (topic: string, publish: (client: MqttClient) => Promise<unknown>) => {
      const seen: string[] = []
      const observer = await connectAsync(server.serverLogin.url, {
        username: server.serverLogin.username,
        password: server.serverLogin.password,
      })
      clients.push(observer)
      observer.on('message', (at) => void seen.push(at))
      await observer.subscribeAsync('#', { qos: 1 })
      const client = await connect(1)
      await publish(client).catch(() => undefined)
      await observer.publishAsync('the/end', '', { qos: 1 })
      await eventually(() => expect(seen).toContain('the/end'))
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

    it('receive its commands, and not its own answers', async () => {
      const client = await connect(1)
      const heard: string[] = []
      client.on('message', (topic) => void heard.push(topic))
      await client.subscribeAsync('iotflow/devices/1/commands/#', { qos: 1 })
      await client.publishAsync('iotflow/devices/1/commands/response', '{}', { qos: 1 })
      for (const topic of ['iotflow/devices/1/commands', 'iotflow/devices/1/commands/reboot'])
        await mosquitto.publish({ topic, payload: '{}', qos: 1, retain: false })
      await eventually(() => expect(heard).toContain('iotflow/devices/1/commands/reboot'))
      expect(heard).toEqual(['iotflow/devices/1/commands', 'iotflow/devices/1/commands/reboot'])
      await client.endAsync()
    })

    it('change no account', async () => {
      const client = await connect(1)
      const payload = JSON.stringify({ commands: removeCommands(2) })
      await client.publishAsync(controlTopic, payload, { qos: 1 }).catch(() => undefined)
      await client.endAsync(true)
      await (await connect(2)).endAsync()
    })

    it('receive messages of the server, also retained ones', async () => {
      const topic = 'iotflow/devices/1/config'
      await mosquitto.publish({ topic, payload: '{"version":1}', qos: 1, retain: true })
      const client = await connect(1)
      const heard: string[] = []
      client.on('message', (_topic, payload) => void heard.push(payload.toString()))
      await client.subscribeAsync(topic, { qos: 1 })
      await eventually(() => expect(heard).toEqual(['{"version":1}']))
      await mosquitto.publish({ topic: 'iotflow/devices/1/commands', payload: 'x', qos: 1, retain: false })
      await client.endAsync()
    })
  })

  it.each([
    ['is disabled', () => sendCommands(disableCommands(1)), () => sendCommands(enableCommands(1))],
    [
      'has a new key',
      () => sendCommands(accountCommands(defaultTopics, 1, 'another')),
      () => sendCommands(accountCommands(defaultTopics, 1, 'key-1')),
    ],
    [
      'is removed',
      () => sendCommands(removeCommands(1)),
      () => sendCommands(accountCommands(defaultTopics, 1, 'key-1')),
    ],
  ])('end the connection of a device that %s, and refuse it', async (_, remove, restore) => {
    const client = await connect(1)
    await remove()
    await ended(client)
    expect(await refused(1, {})).toBe('refused')
    await restore()
    await (await connect(1)).endAsync()
  })

  it('end a connection without touching the account', async () => {
    const client = await connect(1)
    expect(await mosquitto.disconnect('iotflow-device-1', { cleanSession: true, preventWill: true })).toBe(
      true,
    )
    await ended(client)
    await (await connect(1)).endAsync()
  })

  it('report an error when the broker refuses a command or is unavailable', async () => {
    await expect(sendCommands([{ command: 'createClient' }])).rejects.toThrow(/refuses createClient/)
    await server.kill()
    await expect(sendCommands(disableCommands(1))).rejects.toThrow()
    await server.start()
    await eventually(() => sendCommands(disableCommands(1)))
    expect(await refused(1, {})).toBe('refused')
    await sendCommands(enableCommands(1))
  })
})
