/** Every broker that IoTFlow works with gives devices the same rights and handles their messages in the same way. */
import { eq } from 'drizzle-orm'
import { connectAsync, type IClientOptions, type MqttClient, connect as open } from 'mqtt'
import { generate } from 'mqtt-packet'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { deadLetters } from '../../lib/registry/schema.ts'
import { describeWith } from '../support/backends.ts'
import { adminToken } from '../support/deployments.ts'
import { hasMosquitto, startMosquitto } from '../support/mosquitto.ts'
import { type Device, type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { eventually } from '../support/waiting.ts'
import { openWire } from './wire.ts'

/** A client with all rights: it receives every message except those whose topic begins with `$`. */
interface Observer {
  /** The payloads received so far, by topic. */
  readonly heard: ReadonlySet<string>
  /** Resolves when every message that was published before has been received. */
  settled(): Promise<void>
}

interface Place {
  readonly settings: Readonly<Record<string, string>>
  /** Undefined: the address that the server tells. */
  readonly mqttUrl?: string
  readonly wsUrl?: string
  /** Undefined where the answers of the broker say which requests it refuses. */
  readonly observer?: Observer
  end(): Promise<void>
}

interface Kind {
  open(): Promise<Place>
  /** The newest MQTT version that it speaks. */
  readonly protocolVersion: 4 | 5
  /** True: a right to publish does not include the right to retain. */
  readonly tellsRetained: boolean
}

const kinds: Record<'embedded' | 'Mosquitto', Kind> = {
  embedded: {
    open: async () => ({ settings: {}, end: async () => {} }),
    protocolVersion: 4,
    tellsRetained: true,
  },
  Mosquitto: {
    async open() {
      const { serverLogin, url, wsUrl, end } = await startMosquitto()
      const { username, password } = serverLogin
      const client = await connectAsync(serverLogin.url, { username, password })
      const heard = new Set<string>()
      client.on('message', (topic, payload) => void heard.add(`${topic} ${payload.toString()}`))
      await client.subscribeAsync('#', { qos: 1 })
      let ends = 0
      return {
        settings: {
          MQTT_URL: serverLogin.url,
          MQTT_USERNAME: username,
          MQTT_PASSWORD: password,
          MQTT_PORT: new URL(url).port,
        },
        mqttUrl: url,
        wsUrl,
        observer: {
          heard,
          async settled() {
            ends += 1
            await client.publishAsync('the/end', `${ends}`, { qos: 1 })
            await eventually(() => expect(heard).toContain(`the/end ${ends}`))
          },
        },
        async end() {
          await client.endAsync(true)
          await end()
        },
      }
    },
    protocolVersion: 5,
    tellsRetained: false,
  },
}

const suite = (name: string, kind: Kind) => {
  const { protocolVersion, tellsRetained } = kind
  let place: Place
  let server: StandaloneServer
  let [url, wsUrl] = ['', '']
  let [own, other] = [] as unknown as [Device, Device]
  let made = 0
  beforeAll(async () => {
    place = await kind.open()
    server = await startStandaloneServer({
      settings: {
        ADMIN_TOKEN: adminToken,
        RATE_LIMIT_PER_MINUTE: '0',
        RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
        RATE_LIMIT_REGISTER_PER_5_MINUTES: '0',
        RATE_LIMIT_IP_PER_MINUTE: '0',
        ...place.settings,
      },
    })
    url = place.mqttUrl ?? server.mqttUrl
    wsUrl = place.wsUrl ?? server.wsUrl
    own = await server.register()
    other = await server.register()
  })
  afterAll(async () => {
    await server?.stop()
    await place?.end()
  })

  const connect = async ({ id, key }: Device, options: IClientOptions = {}, at = url) => {
    made += 1
    const client = await connectAsync(at, {
      protocolVersion,
      reconnectPeriod: 0,
      clientId: `${id}-${made}`,
      username: String(id),
      password: key,
      ...options,
    })
    client.on('error', () => {})
    onTestFinished(async () => void (await client.endAsync(true)))
    return client
  }
  const letsIn = (device: Device, options?: IClientOptions, at?: string) =>
    connect(device, options, at).then(
      async (client) => {
        await client.endAsync()
        return true
      },
      () => false,
    )
  /** Undefined when the broker accepted, also if it closed the connection afterwards. */
  const refusal = (client: MqttClient, topic: string, payload: string, retain = false) =>
    new Promise<unknown>((resolve) => {
      client.once('close', () => resolve('closed'))
      client.publishAsync(topic, payload, { qos: 1, retain }).then(
        () => resolve(undefined),
        (error: unknown) => resolve(error),
      )
    })
  const asAdmin = (method: string, path: string, body?: unknown) =>
    server.request(method, path, { headers: { Authorization: `Bearer ${adminToken}` }, body })
  const telemetryOf = ({ id }: Device) => `iotflow/devices/${id}/telemetry`
  const readingsOf = async ({ id, key }: Device): Promise<Record<string, unknown>[]> => {
    const { body } = await server.request('GET', `/api/v1/telemetry/${id}?limit=1000`, { key })
    return body.data
  }

  describe('rights', () => {
    const statusTopics = ['status', 'status/online', 'status/offline', 'status/heartbeat']
    const answers = ['commands/response', 'commands/c1/response']
    const filters = [
      'commands',
      ...answers,
      'commands/a/b/response',
      'commands/control',
      'commands/+',
      'commands/#',
    ]
    const rest = ['telemetry', 'telemetry/sensors', ...statusTopics, 'status/other', ...filters]
    rest.push('config', 'config/reported')
    rest.push('anything', '+', '#')
    const topicsOf = (id: string) => rest.map((topic) => `iotflow/devices/${id}/${topic}`)
    const groups: Record<string, string[]> = {
      own: topicsOf('OWN'),
      other: topicsOf('OTHER'),
      shared: [
        'iotflow/fleet/notices/all',
        'iotflow/fleet/notices/#',
        'iotflow/fleet/commands',
        'iotflow/devices/+/telemetry',
        '$share/group/iotflow/devices/OWN/commands',
        '+/devices/OWN/commands',
        '#',
      ],
      system: [
        '$SYS/broker/uptime',
        '$SYS/#',
        '$aws/events/presence/connected/OWN',
        '$aws/#',
        '$aws/rules/any',
        '$CONTROL/#',
        '$CONTROL/dynamic-security/v1',
        '$CONTROL/dynamic-security/v1/response',
      ],
    }
    const mine = (topic: string) => `iotflow/devices/OWN/${topic}`
    const statuses = statusTopics.map(mine)
    const mayPublish = [
      ...statuses,
      ...['telemetry', 'telemetry/sensors', 'config/reported', ...answers].map(mine),
    ]
    const mayRetain = tellsRetained ? statuses : mayPublish
    const allowed: Record<string, string[]> = {
      publish: mayPublish,
      retain: mayRetain,
      // Filters within `commands/#` are granted; a device gets none of its own answers through them.
      subscribe: [
        ...[...filters, 'config'].map(mine),
        'iotflow/fleet/notices/all',
        'iotflow/fleet/notices/#',
      ],
      will: mayPublish,
      'retained will': mayRetain,
    }
    /** The client library refuses some topics itself; a faulty device would send them. */
    const isName = (topic: string) => !/[+#]/.test(topic)

    const arrives = async (topic: string, payload: string) => {
      await place.observer?.settled()
      return place.observer?.heard.has(`${topic} ${payload}`) ?? false
    }
    const payloadOf = () => {
      made += 1
      return JSON.stringify({ attempt: made })
    }
    const published = async (topic: string, retain: boolean): Promise<boolean> => {
      const client = await connect(own)
      const payload = payloadOf()
      const refused = await refusal(client, topic, payload, retain)
      await client.endAsync(true)
      return refused === undefined || (await arrives(topic, payload))
    }
    const willed = async (topic: string, retain: boolean): Promise<boolean> => {
      const payload = payloadOf()
      const will = { topic, payload: Buffer.from(payload), qos: 1 as const, retain }
      const client = await connect(own, { will }).catch(() => undefined)
      if (client === undefined || place.observer === undefined) {
        // The client disconnects properly, so that the broker does not publish an allowed will.
        await client?.endAsync()
        return client !== undefined
      }
      client.stream.destroy()
      // When the same device is connected again, the broker has handled all earlier packets.
      await (await connect(own)).endAsync()
      return arrives(topic, payload)
    }
    const attempts: Record<string, (topic: string) => Promise<boolean>> = {
      publish: (topic) => published(topic, false),
      retain: (topic) => published(topic, true),
      async subscribe(topic) {
        const client = await connect(own)
        return client.subscribeAsync(topic, { qos: 1 }).then(
          (grants) => grants.every(({ qos }) => qos < 128),
          () => false,
        )
      },
      will: (topic) => willed(topic, false),
      'retained will': (topic) => willed(topic, true),
    }

    const rows: string[] = []
    afterAll(() => {
      const head = `${`topic at ${name}`.padEnd(48)} ${'whose'.padEnd(8)}${Object.keys(attempts)
        .map((attempt) => attempt.padEnd(15))
        .join('')}`
      process.stdout.write(`\n${[head, ...rows].join('\n')}\n`)
    })

    describe.each(Object.entries(groups))('%s topics', (group, topics) => {
      it.each(topics)('%s', async (template) => {
        const topic = template.replace('OWN', String(own.id)).replace('OTHER', String(other.id))
        const got: Record<string, boolean> = {}
        const wanted: Record<string, boolean> = {}
        for (const [attempt, does] of Object.entries(attempts)) {
          if (attempt !== 'subscribe' && !isName(template)) continue
          got[attempt] = await does(topic)
          wanted[attempt] = allowed[attempt]?.includes(template) === true
        }
        const shown = (attempt: string) => (attempt in got ? (got[attempt] ? 'yes' : 'no') : '-').padEnd(15)
        rows.push(`${template.padEnd(48)} ${group.padEnd(8)}${Object.keys(attempts).map(shown).join('')}`)
        expect(got).toEqual(wanted)
      })
    })

    it('deliver only messages that a device may receive, whatever it subscribed to', async () => {
      const client = await connect(own)
      const heard: string[] = []
      client.on('message', (topic) => void heard.push(topic))
      const filters = [
        '#',
        '+/#',
        '/#',
        'iotflow/#',
        'iotflow/devices/+/telemetry',
        telemetryOf(other),
        '$share/g/#',
      ]
      for (const filter of [...filters, `iotflow/devices/${own.id}/commands`])
        await client.subscribeAsync(filter, { qos: 1 }).catch(() => undefined)
      const stranger = await connect(other)
      for (const topic of ['telemetry', 'status/heartbeat', 'commands/response'])
        await stranger.publishAsync(`iotflow/devices/${other.id}/${topic}`, '{"heard":1}', { qos: 1 })
      await client.publishAsync(telemetryOf(own), '{"heard":2}', { qos: 1 })
      expect(heard).toEqual([])
      expect(client.connected).toBe(true)
    })
  })

  describe('at the connection', () => {
    it('accepts a device with its key, in every MQTT version and over a WebSocket', async () => {
      for (const version of [4, protocolVersion] as const)
        for (const at of [url, wsUrl]) expect(await letsIn(own, { protocolVersion: version }, at)).toBe(true)
    })

    it.each<[string, (device: Device) => IClientOptions]>([
      ['a wrong key', () => ({ password: 'x'.repeat(32) })],
      ['an empty key', () => ({ password: '' })],
      ["another's key", () => ({ password: other.key })],
      ["another's name", () => ({ username: String(other.id) })],
      ['an unknown user name', () => ({ username: '999999' })],
      ['no user name', () => ({ username: '' })],
    ])('refuses a client with %s', async (_what, options) => {
      expect(await letsIn(own, options(own))).toBe(false)
      expect(await letsIn(own)).toBe(true)
    })

    it('does not let a device into the session of another device', async () => {
      const theirs = await connect(other, { clientId: String(other.id) })
      await letsIn(own, { clientId: String(other.id) })
      expect(await refusal(theirs, telemetryOf(other), '{"mine":1}')).toBeUndefined()
    })

    const offline: [string, (device: Device) => Promise<unknown>][] = [
      [
        'was made inactive',
        ({ id }) => asAdmin('PUT', `/api/v1/admin/devices/${id}/status`, { status: 'inactive' }),
      ],
      ['had its keys revoked', ({ id }) => asAdmin('POST', `/api/v1/admin/devices/${id}/revoke-key`, {})],
      [
        'rotated its key twice, which ended the key of its connection',
        async ({ key }) => {
          const rotate = (key: string) =>
            server.request('POST', '/api/v1/devices/rotate-key', { key, body: {} })
          return rotate((await rotate(key)).body.api_key)
        },
      ],
      ['was deleted', ({ id }) => asAdmin('DELETE', `/api/v1/admin/devices/${id}`)],
    ]
    it.each(offline)('refuses a device that %s, and ends its connection', async (_what, act) => {
      const device = await server.register()
      const client = await connect(device)
      expect(await act(device)).toMatchObject({ status: 200 })
      await eventually(() => expect(client.connected).toBe(false))
      expect(await letsIn(device)).toBe(false)
    })

    it('does not give a device its old session back after it lost and regained its rights', async () => {
      const device = await server.register()
      const returns = () =>
        new Promise<boolean>((resolve, reject) => {
          const client = open(url, {
            protocolVersion: 4,
            clean: false,
            reconnectPeriod: 0,
            clientId: `${device.id}-left`,
            username: String(device.id),
            password: device.key,
          })
          client.once('error', reject)
          client.once('connect', ({ sessionPresent }) =>
            client.subscribe(`iotflow/devices/${device.id}/commands`, { qos: 1 }, () =>
              client.end(() => resolve(sessionPresent)),
            ),
          )
        })
      expect([await returns(), await returns()]).toEqual([false, true])
      for (const status of ['inactive', 'active'])
        expect(await asAdmin('PUT', `/api/v1/admin/devices/${device.id}/status`, { status })).toMatchObject({
          status: 200,
        })
      expect(await returns()).toBe(false)
    })

    it('accepts a device with the new key of a rotation', async () => {
      const device = await server.register()
      const { body } = await server.request('POST', '/api/v1/devices/rotate-key', {
        key: device.key,
        body: {},
      })
      expect(await letsIn({ ...device, key: body.api_key })).toBe(true)
    })
  })

  describe('a message', () => {
    const arrived = async (device: Device, count: number) => {
      await eventually(async () => expect(await readingsOf(device)).toHaveLength(count))
      return readingsOf(device)
    }

    it('that was acknowledged is stored once, with its values and its time', async () => {
      const device = await server.register()
      const client = await connect(device)
      const start = Date.now() - 10_000
      const sent = Array.from({ length: 50 }, (_, at) => ({ at, label: `é"${at}`, on: at % 2 === 0 }))
      for (const round of [1, 2])
        await Promise.all(
          sent.map((data, at) =>
            client.publishAsync(
              telemetryOf(device),
              JSON.stringify({ data, timestamp: new Date(start + at * 10).toISOString(), round }),
              { qos: 1 },
            ),
          ),
        )
      const readings = await arrived(device, sent.length)
      expect(readings.map((reading) => reading.at).sort((a, b) => Number(a) - Number(b))).toEqual(
        sent.map(({ at }) => at),
      )
      expect(readings[0]).toMatchObject({ label: expect.stringMatching(/^é"\d+$/) })
    })

    it('waits while the store is full; each reading is stored once', async () => {
      const device = await server.register()
      const client = await connect(device)
      const batches = Array.from({ length: 60 }, (_, n) =>
        JSON.stringify(Array.from({ length: 1000 }, (_, at) => ({ n, at }))),
      )
      await Promise.all(batches.map((batch) => client.publishAsync(telemetryOf(device), batch, { qos: 1 })))
      await eventually(async () => {
        const { body } = await asAdmin('GET', `/api/v1/admin/devices/${device.id}`)
        expect(body.accounting).toMatchObject({ received: 60_000, stored: 60_000 })
      })
    })

    it('may have a payload of 128 KiB', async () => {
      const device = await server.register()
      const values = Object.fromEntries(
        Array.from({ length: 32 }, (_, index) => [`note${index}`, 'x'.repeat(4000)]),
      )
      const client = await connect(device)
      const payload = JSON.stringify(values).padEnd(128 * 1024)
      expect(await refusal(client, telemetryOf(device), payload)).toBeUndefined()
      await arrived(device, 1)
    })

    it('is refused when it is longer', async () => {
      const device = await server.register()
      const client = await connect(device)
      const payload = JSON.stringify({ a: 1 }).padEnd(128 * 1024 + 1)
      await refusal(client, telemetryOf(device), payload)
      expect(await refusal(await connect(device), telemetryOf(device), '{"b":1}')).toBeUndefined()
      expect(Object.keys((await arrived(device, 1))[0] ?? {})).toContain('b')
    })

    it('that is no reading becomes a dead letter, without the API keys in it', async () => {
      const device = await server.register()
      const client = await connect(device)
      const secret = device.key
      const payloads = [
        `{"api_key": "${secret}", "a": 1,`,
        `{"a":{"api_key":"${secret}`,
        `[{"api_key":${secret}}]`,
        '\xff\xfe',
        '',
      ]
      for (const payload of payloads)
        await client.publishAsync(`${telemetryOf(device)}/sensors`, Buffer.from(payload, 'latin1'), {
          qos: 1,
        })
      const kept = await eventually(async () => {
        const rows = await server.withRegistry((db) =>
          db.select().from(deadLetters).where(eq(deadLetters.deviceId, device.id)).orderBy(deadLetters.id),
        )
        expect(rows).toHaveLength(payloads.length)
        return rows
      })
      expect(kept.map(({ payload }) => payload.toString('latin1'))).toEqual([
        '{"api_key": "", "a": 1,',
        '{"a":{"api_key":""',
        '[{"api_key":""}]',
        '\xff\xfe',
        '',
      ])
      expect(kept[0]).toMatchObject({
        topic: `${telemetryOf(device)}/sensors`,
        reason: 'The body is not valid JSON.',
      })
      expect(kept.map(({ reason }) => reason)).toMatchObject({
        3: 'The body is not valid JSON.',
        4: expect.stringContaining('empty'),
      })
    })

    it('is not stored when its packet is incomplete', async () => {
      const device = await server.register()
      const connectPacket = generate({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 4,
        clean: true,
        clientId: `${device.id}-wire`,
        keepalive: 0,
        username: String(device.id),
        password: Buffer.from(device.key),
      })
      const packet = generate({
        cmd: 'publish',
        topic: telemetryOf(device),
        payload: '{"a":1}',
        qos: 1,
        messageId: 7,
        retain: false,
        dup: false,
      })
      for (const at of packet.keys()) {
        const wire = await openWire(url)
        wire.send(connectPacket)
        await eventually(() => expect(wire.received().length).toBeGreaterThanOrEqual(4))
        wire.send(packet.subarray(0, at))
        wire.end()
        await wire.closes
      }
      expect(await refusal(await connect(device), telemetryOf(device), '{"b":1}')).toBeUndefined()
      expect(Object.keys((await arrived(device, 1))[0] ?? {})).toContain('b')
    })
  })

  it('writes no key to the log', () => {
    const log = JSON.stringify(server.log())
    for (const { key } of [own, other]) expect(log).not.toContain(key)
  })
}

for (const [name, kind] of Object.entries(kinds))
  describeWith({ mosquitto: name !== 'Mosquitto' || hasMosquitto }, `broker contract: ${name}`, () =>
    suite(name, kind),
  )
