/** The way to the devices, at every door alike: commands with their states, and configuration. One server per door serves all cases. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeWith } from '../support/backends.ts'
import { adminToken, type Deployment, deployments } from '../support/deployments.ts'
import { DownlinkDevice } from '../support/downlink-device.ts'
import { hasMosquitto, startMosquitto } from '../support/mosquitto.ts'
import { eventually } from '../support/waiting.ts'

interface Door {
  /** Its devices connect with these versions. */
  readonly versions: readonly (4 | 5)[]
  /** A device keeps its session while it is away, and a device may have several. */
  readonly keepsSessions: boolean
  /** Of one configuration at the same time. */
  readonly writers: number
  open(): Promise<Deployment>
}

/** A Mosquitto with the bridge of `npm start`. */
const openMosquitto = async (): Promise<Deployment> => {
  const mosquitto = await startMosquitto()
  const { url, username, password } = mosquitto.serverLogin
  const server = await deployments['npm start']({
    MQTT_URL: url,
    MQTT_USERNAME: username,
    MQTT_PASSWORD: password,
    MQTT_PORT: new URL(mosquitto.url).port,
  })
  return {
    ...server,
    mqttUrl: mosquitto.url,
    async stop() {
      await server.stop()
      await mosquitto.end()
    },
  }
}

const doors: Record<string, Door> = {
  'the embedded broker': {
    versions: [4, 5],
    keepsSessions: true,
    writers: 50,
    open: deployments['npm start'],
  },
  // The same server takes its requests.
  Mosquitto: { versions: [4, 5], keepsSessions: true, writers: 10, open: openMosquitto },
  'the emulated Lambda front door': {
    versions: [4, 5],
    keepsSessions: true,
    // A request takes many times as long as at the server.
    writers: 10,
    open: deployments['npm run dev'],
  },
}

const suite = (door: Door) => {
  let place: Deployment
  let made = 0
  beforeAll(async () => {
    place = await door.open()
  })
  afterAll(() => place?.stop())

  const asAdmin = async (method: string, path: string, body?: unknown, headers = {}) => {
    const answer = await fetch(`${place.httpUrl}${path}`, {
      method,
      headers: { Authorization: `Bearer ${adminToken}`, 'Content-Type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    // biome-ignore lint/suspicious/noExplicitAny: the tests look at documented fields.
    return { status: answer.status, headers: answer.headers, body: (await answer.json()) as any }
  }
  const register = async (type = 'valve') => {
    made += 1
    const answer = await fetch(`${place.httpUrl}/api/v1/devices/register`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: `downlink-${made}`, device_type: type }),
    })
    const { device } = (await answer.json()) as { device: { id: number; api_key: string } }
    return new DownlinkDevice({ id: device.id, key: device.api_key }, place)
  }
  const send = async ({ id }: DownlinkDevice, command: string, more: object = {}): Promise<string> => {
    const answer = await asAdmin('POST', `/api/v1/admin/devices/${id}/commands`, { command, ...more })
    expect([answer.status, answer.body.status], JSON.stringify(answer.body)).toEqual([202, 'queued'])
    return answer.body.command_id
  }
  const commandOf = async ({ id }: DownlinkDevice, commandId: string) =>
    (await asAdmin('GET', `/api/v1/admin/devices/${id}/commands/${commandId}`)).body.command
  const becomes = (device: DownlinkDevice, commandId: string, status: string) =>
    eventually(async () => {
      const command = await commandOf(device, commandId)
      expect(command.status).toBe(status)
      return command
    })
  const arrives = (device: DownlinkDevice, ...commandIds: string[]) =>
    eventually(() => expect(device.commands.map(({ command_id }) => command_id)).toEqual(commandIds))
  /** Long enough for a command that must not come. */
  const quiet = () => sleep(300)

  describe.each(door.versions)('commands over MQTT version %i', (version) => {
    it('reach a connected device once, and every state has its time', async () => {
      const device = await register()
      await device.connect(version)
      const id = await send(device, 'open', { params: { percent: 40 } })
      await arrives(device, id)
      const [{ topic, body, packet }] = device.received as [(typeof device.received)[0]]
      expect([topic, packet.qos, packet.retain]).toEqual([`iotflow/devices/${device.id}/commands`, 1, false])
      expect(body).toEqual({
        command_id: id,
        command: 'open',
        params: { percent: 40 },
        issued_at: expect.any(String),
        expires_at: expect.any(String),
      })
      expect(Date.parse(body.expires_at) - Date.parse(body.issued_at)).toBe(86_400_000)
      const sent = await becomes(device, id, 'sent')
      expect([sent.sent_at, sent.acknowledged_at, sent.finished_at]).toEqual([expect.any(String), null, null])
      await device.answer(id, 'acknowledged')
      await becomes(device, id, 'acknowledged')
      await device.answer(id, 'succeeded', { percent: 41 })
      const done = await becomes(device, id, 'succeeded')
      expect(done.result).toEqual({ percent: 41 })
      const times = [done.issued_at, done.sent_at, done.acknowledged_at, done.finished_at].map(Date.parse)
      expect(times).toEqual([...times].sort((one, other) => one - other))
      await device.answer(id, 'failed')
      await quiet()
      expect((await commandOf(device, id)).status).toBe('succeeded')
      expect(device.commands).toHaveLength(1)
    })

    it('wait for a device that is offline, and come in their order', async () => {
      const device = await register()
      const ids = [await send(device, 'first'), await send(device, 'second'), await send(device, 'third')]
      expect((await commandOf(device, ids[0] ?? '')).status).toBe('queued')
      await device.connect(version)
      await arrives(device, ...ids)
      for (const id of ids) await becomes(device, id, 'sent')
    })

    it('come in their order to a device that is connected', async () => {
      const device = await register()
      await device.connect(version)
      const ids: string[] = []
      for (let n = 0; n < 10; n++) ids.push(await send(device, `step-${n}`))
      await arrives(device, ...ids)
    })

    it('come on the topic of their channel', async () => {
      const device = await register()
      await device.connect(version)
      for (const channel of ['control', 'config', 'firmware']) await send(device, channel, { channel })
      await eventually(() => expect(device.received).toHaveLength(3))
      expect(device.received.map(({ topic }) => topic.split('/').at(-1))).toEqual([
        'control',
        'config',
        'firmware',
      ])
    })

    it('are answered on the topic of the command too, and by HTTP', async () => {
      const device = await register()
      await device.connect(version)
      const [first, second] = [await send(device, 'one'), await send(device, 'two')]
      await arrives(device, first, second)
      await device.publish(`iotflow/devices/${device.id}/commands/${first}/response`, { status: 'failed' })
      await becomes(device, first, 'failed')
      const answer = await device.request('POST', `/api/v1/devices/commands/${second}`, {
        status: 'succeeded',
        result: 'done',
      })
      expect(answer.status).toBe(200)
      expect((await becomes(device, second, 'succeeded')).result).toBe('done')
    })

    it('are not delivered again after an answer, whatever the device does', async () => {
      const device = await register()
      await device.connect(version)
      const id = await send(device, 'once', { max_attempts: 5 })
      await arrives(device, id)
      await device.answer(id, 'acknowledged')
      await becomes(device, id, 'acknowledged')
      await device.publish(device.topics.statusHeartbeat, { status: 'online' })
      await device.disconnect()
      await device.connect(version)
      await device.publish(device.topics.statusHeartbeat, { status: 'online' })
      const { body } = await device.request('GET', '/api/v1/devices/commands')
      await quiet()
      expect([device.commands.length, body.commands]).toEqual([1, []])
    })

    it('end when they expire, and never come then', async () => {
      const device = await register()
      const id = await send(device, 'soon', { ttl_s: 1 })
      await becomes(device, id, 'expired')
      await device.connect(version)
      await quiet()
      expect(device.commands).toEqual([])
      await device.answer(id, 'succeeded')
      await quiet()
      expect((await commandOf(device, id)).status).toBe('expired')
    })

    it('end when they are cancelled, and never come then', async () => {
      const device = await register()
      const id = await send(device, 'no')
      const path = `/api/v1/admin/devices/${device.id}/commands/${id}`
      expect((await asAdmin('DELETE', path)).status).toBe(200)
      expect((await commandOf(device, id)).status).toBe('cancelled')
      await device.connect(version)
      await quiet()
      expect(device.commands).toEqual([])
    })

    if (door.keepsSessions)
      it('wait for a device that keeps its session, and come once', async () => {
        const session =
          version === 5 ? { clean: false, properties: { sessionExpiryInterval: 3600 } } : { clean: false }
        const device = await register()
        await device.connect(version, session)
        await device.disconnect()
        const id = await send(device, 'later')
        await device.connect(version, session)
        await arrives(device, id)
        await quiet()
        expect(device.commands).toHaveLength(1)
      })
  })

  describe('commands to a device over HTTP', () => {
    it('are given when it asks, also while it waits, and are answered', async () => {
      const device = await register()
      const id = await send(device, 'open')
      const first = await device.request('GET', '/api/v1/devices/commands?wait=5')
      expect(first.body.commands).toEqual([
        expect.objectContaining({ command_id: id, command: 'open', params: null }),
      ])
      await becomes(device, id, 'sent')
      await device.request('POST', `/api/v1/devices/commands/${id}`, { status: 'succeeded', result: 1 })
      expect((await commandOf(device, id)).status).toBe('succeeded')
      const asked = device.request('GET', '/api/v1/devices/commands?wait=10')
      await sleep(100)
      const next = await send(device, 'close')
      const second = await asked
      expect(second.body.commands).toEqual([expect.objectContaining({ command_id: next })])
    })

    it('are those of the device itself', async () => {
      const [device, other] = [await register(), await register()]
      const id = await send(device, 'open')
      expect((await other.request('GET', '/api/v1/devices/commands')).body.commands).toEqual([])
      const answer = await other.request('POST', `/api/v1/devices/commands/${id}`, { status: 'succeeded' })
      expect(answer.status).toBe(404)
      expect((await commandOf(device, id)).status).toBe('queued')
    })
  })

  describe('a fleet command', () => {
    it('reaches the devices that fit, and counts what becomes of them', async () => {
      const type = 'fleet-valve'
      const [first, second, third] = [await register(type), await register(type), await register(type)]
      const other = await register()
      for (const device of [first, second, other]) await device.connect(device === second ? 5 : 4)
      const { status, body } = await asAdmin('POST', '/api/v1/admin/fleet/commands', {
        command: 'open',
        filter: { device_type: type },
      })
      expect([status, body.targets]).toEqual([202, 3])
      const path = `/api/v1/admin/fleet/commands/${body.fleet_command_id}`
      for (const device of [first, second]) await eventually(() => expect(device.commands).toHaveLength(1))
      await first.answer(first.commands[0].command_id, 'succeeded')
      await second.answer(second.commands[0].command_id, 'failed')
      await eventually(async () => {
        const { fleet_command: fleet } = (await asAdmin('GET', path)).body
        expect(fleet.progress).toMatchObject({ queued: 1, succeeded: 1, failed: 1, sent: 0 })
      })
      const cancelled = await asAdmin('DELETE', path)
      expect(cancelled.body.fleet_command).toMatchObject({
        status: 'cancelled',
        progress: { queued: 0, succeeded: 1, failed: 1, cancelled: 1 },
      })
      await third.connect(4)
      await quiet()
      expect([third.commands, other.commands]).toEqual([[], []])
    })
  })

  describe('the configuration', () => {
    const configure = ({ id }: DownlinkDevice, configuration: object, headers = {}) =>
      asAdmin('PUT', `/api/v1/admin/devices/${id}/config`, { configuration }, headers)
    const configurationOf = async ({ id }: DownlinkDevice) =>
      (await asAdmin('GET', `/api/v1/admin/devices/${id}/config`)).body

    it.each(door.versions)(
      'is there for a device of version %i that connects, and is reported',
      async (version) => {
        const device = await register()
        await configure(device, { interval: 30 })
        await device.connect(version)
        await device.subscribe(device.topics.configSubscribe)
        const got = (count: number) =>
          eventually(() => {
            const found = device.received.filter(({ topic }) => topic === device.topics.configSubscribe)
            expect(found).toHaveLength(count)
            return found.map(({ body, packet }) => ({ body, retain: packet.retain }))
          })
        expect(await got(1)).toEqual([
          { body: { version: 1, configuration: { interval: 30 } }, retain: true },
        ])
        await device.publish(device.topics.configReportedPublish, { version: 1 })
        await eventually(async () => {
          expect(await configurationOf(device)).toMatchObject({ version: 1, reported_version: 1 })
        })
        await configure(device, { interval: 60 })
        const [, second] = await got(2)
        expect(second?.body).toEqual({ version: 2, configuration: { interval: 60 } })
        expect(await configurationOf(device)).toMatchObject({ version: 2, reported_version: 1 })
      },
    )

    it(`loses no change of ${door.writers} writers at the same time, and its version only rises`, async () => {
      const { writers } = door
      const device = await register()
      await configure(device, { start: 0 })
      const versions: number[] = []
      const write = async (n: number) => {
        for (;;) {
          const { version } = await configurationOf(device)
          const answer = await configure(device, { [`key-${n}`]: n }, { 'If-Match': `"${version}"` })
          if (answer.status === 412) {
            // By chance, so that not all of them meet again.
            await sleep(40 * writers * Math.random())
            continue
          }
          expect(answer.status).toBe(200)
          expect(answer.body.version).toBe(version + 1)
          versions.push(answer.body.version)
          return
        }
      }
      await Promise.all(Array.from({ length: writers }, (_, n) => write(n)))
      expect(versions.sort((one, other) => one - other)).toEqual(
        Array.from({ length: writers }, (_, n) => n + 2),
      )
      const { version, configuration } = await configurationOf(device)
      expect([version, Object.keys(configuration).length]).toEqual([writers + 1, writers + 1])
      for (let n = 0; n < writers; n++) expect(configuration[`key-${n}`].value).toBe(n)
    })
  })
}

for (const [name, door] of Object.entries(doors))
  describeWith(name === 'Mosquitto' ? { mosquitto: hasMosquitto } : {}, `downlink contract: ${name}`, () =>
    suite(door),
  )
