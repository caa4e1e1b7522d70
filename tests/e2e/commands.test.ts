/** Commands on one machine, from the operator's call to the device's answer. */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  connectAsync,
  connect as connectClient,
  type IClientOptions,
  type IPublishPacket,
  type MqttClient,
} from 'mqtt'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { describeWith } from '../support/backends.ts'
import { hasMosquitto, type MosquittoServer, startMosquitto } from '../support/mosquitto.ts'
import { type Device, type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { eventually } from '../support/waiting.ts'

const adminToken = 'token-of-the-operators-in-tests'
const settings = { ADMIN_TOKEN: adminToken, RATE_LIMIT_IP_PER_MINUTE: '0', RATE_LIMIT_PER_MINUTE: '0' }
const headers = { Authorization: `Bearer ${adminToken}` }

const addressOf = ({ id }: Device) => `/api/v1/admin/devices/${id}/commands`
const send = async (server: StandaloneServer, device: Device, fields: object = {}): Promise<string> => {
  const body = { command: 'restart', ...fields }
  const answer = await server.request('POST', addressOf(device), { headers, body })
  expect(answer.status).toBe(202)
  return answer.body.command_id
}
const show = async (server: StandaloneServer, device: Device, commandId: string) =>
  (await server.request('GET', `${addressOf(device)}/${commandId}`, { headers })).body.command
const reaches = (server: StandaloneServer, device: Device, commandId: string, state: object) =>
  eventually(async () => expect(await show(server, device, commandId)).toMatchObject(state))

/** The commands that a client gets. */
const inbox = (client: MqttClient) => {
  const got: { topic: string; id: string; packet: IPublishPacket }[] = []
  client.on('message', (topic, payload, packet) => {
    got.push({ topic, id: JSON.parse(payload.toString()).command_id, packet })
  })
  return got
}
const ids = (got: readonly { id: string }[]) => got.map(({ id }) => id)
const commandsOf = ({ id }: Device) => `iotflow/devices/${id}/commands`

describe('a command, on the embedded broker', () => {
  let server: StandaloneServer
  beforeAll(async () => {
    server = await startStandaloneServer({ settings })
  })
  afterAll(() => server.stop())

  const connect = async (device: Device, options: IClientOptions = {}) => {
    const client = await server.mqtt(device, options)
    onTestFinished(() => client.endAsync(true))
    return client
  }

  it.each([4, 5] as const)(
    'reaches a connected device and is answered, with protocol version %i',
    async (version) => {
      const device = await server.register()
      const client = await connect(device, { protocolVersion: version })
      const got = inbox(client)
      await client.subscribeAsync(commandsOf(device), { qos: 1 })
      const commandId = await send(server, device, { params: { delay_s: 5 } })
      await reaches(server, device, commandId, { status: 'sent', attempts: 1 })
      await eventually(() => expect(ids(got)).toEqual([commandId]))
      const { properties } = got[0]?.packet ?? {}
      const responseTopic = `${commandsOf(device)}/${commandId}/response`
      expect(properties?.responseTopic).toBe(version === 5 ? responseTopic : undefined)
      expect(properties?.correlationData?.toString()).toBe(version === 5 ? commandId : undefined)
      await client.publishAsync(
        `${commandsOf(device)}/response`,
        JSON.stringify({ command_id: commandId, status: 'acknowledged' }),
        { qos: 1 },
      )
      await reaches(server, device, commandId, { status: 'acknowledged' })
      await client.publishAsync(responseTopic, '{"status":"succeeded","result":{"took_s":4}}', { qos: 1 })
      await reaches(server, device, commandId, { status: 'succeeded', result: { took_s: 4 } })
    },
  )

  it('is recognised by the correlation data of an answer', async () => {
    const device = await server.register()
    const client = await connect(device, { protocolVersion: 5 })
    const commandId = await send(server, device)
    await client.publishAsync(`${commandsOf(device)}/response`, '{"status":"failed"}', {
      qos: 1,
      properties: { correlationData: Buffer.from(commandId) },
    })
    await reaches(server, device, commandId, { status: 'failed' })
  })

  it('waits for the subscription, comes in order, and only to those who may have it', async () => {
    const device = await server.register()
    const other = await server.register()
    const sent = [await send(server, device), await send(server, device), await send(server, device)]
    const [client, stranger] = [await connect(device), await connect(other)]
    const [got, heard] = [inbox(client), inbox(stranger)]
    await stranger.subscribeAsync(commandsOf(other), { qos: 1 })
    await client.subscribeAsync('iotflow/fleet/notices/#', { qos: 1 })
    await sleep(100)
    expect((await show(server, device, sent[0] as string)).status).toBe('queued')
    await client.subscribeAsync(`${commandsOf(device)}/#`, { qos: 1 })
    await eventually(() => expect(ids(got)).toEqual(sent))
    expect(heard).toEqual([])
  })

  it('goes to the topic of its channel', async () => {
    const device = await server.register()
    const client = await connect(device)
    const got = inbox(client)
    await client.subscribeAsync(`${commandsOf(device)}/control`, { qos: 1 })
    const plain = await send(server, device)
    const control = await send(server, device, { channel: 'control' })
    await reaches(server, device, control, { status: 'sent' })
    expect(got.map(({ topic, id }) => [topic, id])).toEqual([[`${commandsOf(device)}/control`, control]])
    expect(await show(server, device, plain)).toMatchObject({ status: 'queued', attempts: 0 })
  })

  it('waits in the registry for a session whose client is away: one that is cancelled does not come', async () => {
    const device = await server.register()
    const first = await server.mqtt(device, { clean: false })
    await first.subscribeAsync(commandsOf(device), { qos: 1 })
    await first.endAsync()
    const [cancelled, stays] = [await send(server, device), await send(server, device)]
    await server.request('DELETE', `${addressOf(device)}/${cancelled}`, { headers })
    expect(await show(server, device, stays)).toMatchObject({ status: 'queued', attempts: 0 })
    const again = connectClient(server.mqttUrl, {
      protocolVersion: 4,
      clean: false,
      clientId: `${device.id}`,
      username: `${device.id}`,
      password: device.key,
    })
    onTestFinished(() => again.endAsync(true))
    const got = inbox(again)
    await eventually(() => expect(ids(got)).toEqual([stays]))
    await sleep(100)
    expect(got.length).toBe(1)
  })

  it('that the device has confirmed does not come again, also when it never answers', async () => {
    const device = await server.register()
    const first = await server.mqtt(device)
    const got = inbox(first)
    await first.subscribeAsync(commandsOf(device), { qos: 1 })
    const commandId = await send(server, device)
    await reaches(server, device, commandId, { status: 'sent' })
    await eventually(() => expect(ids(got)).toEqual([commandId]))
    await sleep(400)
    await first.endAsync()
    const second = await connect(device)
    const again = inbox(second)
    await second.subscribeAsync(commandsOf(device), { qos: 1 })
    await sleep(1500)
    expect(again).toEqual([])
  })

  it('is fetched over HTTP by a device that waits, until it hangs up or the server ends', async () => {
    const device = await server.register()
    const asked = server.request('GET', '/api/v1/devices/commands?wait=25', { key: device.key })
    await sleep(100)
    const commandId = await send(server, device)
    expect((await asked).body.commands).toMatchObject([{ command_id: commandId }])
    const controller = new AbortController()
    const gone = fetch(`${server.httpUrl}/api/v1/devices/commands?wait=25`, {
      headers: { 'X-API-Key': device.key },
      signal: controller.signal,
    })
    await sleep(100)
    controller.abort()
    await expect(gone).rejects.toThrow()
    await sleep(100)
    const next = await send(server, device)
    expect(await show(server, device, next)).toMatchObject({ status: 'queued' })
  })
})

describe('a server that ends', () => {
  it('answers devices that wait for commands', async () => {
    const server = await startStandaloneServer({ settings })
    const device = await server.register()
    const asked = server.request('GET', '/api/v1/devices/commands?wait=25', { key: device.key })
    await sleep(200)
    await server.stop()
    expect((await asked).body).toMatchObject({ commands: [], retry_after_s: 1 })
  })

  it('by a kill loses no command, and what a device has not confirmed comes again', async () => {
    const folder = await temporaryFolder()
    onTestFinished(() => folder.remove())
    const options = { settings: { ...settings, DATA_DIR: folder.path } }
    const first = await startStandaloneServer(options)
    const device = await first.register()
    // This client confirms nothing.
    const client = await first.mqtt(device, { customHandleAcks: () => {} } as IClientOptions)
    const got = inbox(client)
    await client.subscribeAsync(commandsOf(device), { qos: 1 })
    const unconfirmed = await send(first, device)
    await reaches(first, device, unconfirmed, { status: 'sent' })
    client.end(true)
    const waiting = await send(first, device)
    first.kill('SIGKILL')
    await first.ended
    expect(ids(got)).toEqual([unconfirmed])
    const second = await startStandaloneServer(options)
    onTestFinished(() => second.stop())
    const again = await second.mqtt(device)
    onTestFinished(() => again.endAsync(true))
    const found = inbox(again)
    await again.subscribeAsync(commandsOf(device), { qos: 1 })
    await eventually(() => expect(ids(found)).toEqual([unconfirmed, waiting]))
    await reaches(second, device, unconfirmed, { status: 'sent', attempts: 2 })
  })
})

describeWith({ mosquitto: hasMosquitto }, 'commands: Mosquitto', () => {
  describe('a command, at a Mosquitto', () => {
    let mosquitto: MosquittoServer
    let server: StandaloneServer
    beforeAll(async () => {
      mosquitto = await startMosquitto()
      const { url, username, password } = mosquitto.serverLogin
      const broker = { MQTT_URL: url, MQTT_USERNAME: username, MQTT_PASSWORD: password }
      server = await startStandaloneServer({
        settings: { ...settings, ...broker, MQTT_PORT: new URL(mosquitto.url).port },
      })
    })
    afterAll(async () => {
      await server.stop()
      await mosquitto.end()
    })

    it('comes at a heartbeat once the device has subscribed, and its answers arrive', async () => {
      const device = await server.register()
      const commandId = await send(server, device)
      const client = await connectAsync(mosquitto.url, {
        protocolVersion: 5,
        clientId: `${device.id}`,
        username: `${device.id}`,
        password: device.key,
      })
      onTestFinished(() => client.endAsync(true))
      const got = inbox(client)
      await client.publishAsync(`iotflow/devices/${device.id}/status/heartbeat`, 'online', { qos: 1 })
      await sleep(300)
      expect(await show(server, device, commandId)).toMatchObject({ status: 'queued', attempts: 0 })
      await client.subscribeAsync(commandsOf(device), { qos: 1 })
      await client.publishAsync(`iotflow/devices/${device.id}/status/heartbeat`, 'online', { qos: 1 })
      await eventually(() => expect(ids(got)).toEqual([commandId]))
      const { responseTopic, correlationData } = got[0]?.packet.properties ?? {}
      expect(correlationData?.toString()).toBe(commandId)
      await client.publishAsync(responseTopic as string, '{"status":"acknowledged"}', { qos: 1 })
      await reaches(server, device, commandId, { status: 'acknowledged', attempts: 1 })
      await client.publishAsync(`${commandsOf(device)}/response`, '{"status":"succeeded"}', {
        qos: 1,
        properties: { correlationData: Buffer.from(commandId) },
      })
      await reaches(server, device, commandId, { status: 'succeeded' })
    })
  })
})
