/** Start and end of the server: a failed start says why in one sentence, and acknowledged readings survive every end. */
import { chmod, mkdir, readFile, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Device,
  type Ended,
  runUntilEnd,
  type StandaloneServer,
  startStandaloneServer,
} from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { until } from '../support/waiting.ts'
import { openWire } from './wire.ts'

let server: StandaloneServer
let folder: Awaited<ReturnType<typeof temporaryFolder>>
beforeAll(async () => {
  folder = await temporaryFolder()
  server = await startStandaloneServer()
})
afterAll(async () => {
  await server?.stop()
  await folder?.remove()
})

/** The sentences that a failed start printed, one per line. Expects no other output. */
const sentencesOf = ({ code, out, err }: Ended): string[] => {
  expect([code, out]).toEqual([1, ''])
  const sentences = err.trimEnd().split('\n')
  for (const sentence of sentences) {
    expect(sentence).toMatch(/^\S.*\.$/)
    expect(sentence).not.toMatch(/\bat .*:\d+:\d+|node_modules|Error:/)
  }
  return sentences
}

let folders = 0
const anotherFolder = () => `${folder.path}/${++folders}`

describe.concurrent('a start is refused', () => {
  it('when a port is in use, and names its setting', async () => {
    const portOf = (url: string) => new URL(url).port
    const taken = {
      PORT: portOf(server.httpUrl),
      MQTT_PORT: portOf(server.mqttUrl),
      MQTT_WS_PORT: portOf(server.wsUrl),
    }
    const ends = await Promise.all(
      Object.entries(taken).map(([name, port]) =>
        runUntilEnd({ settings: { DATA_DIR: anotherFolder(), [name]: port } }),
      ),
    )
    expect(ends.map(sentencesOf)).toEqual(
      Object.entries(taken).map(([name, port]) => [
        `${name} ${port} is taken on 127.0.0.1: stop what listens there, or set ${name} to another port or 0 for a free one.`,
      ]),
    )
  })

  it('when several ports are in use, and names all of them with a line that picks free ones', async () => {
    const [http, mqtt] = [server.httpUrl, server.mqttUrl].map((url) => new URL(url).port)
    const settings = { DATA_DIR: anotherFolder(), PORT: String(http), MQTT_PORT: String(mqtt) }
    const { code, err } = await runUntilEnd({ settings })
    expect([code, err]).toEqual([
      1,
      `PORT ${http} and MQTT_PORT ${mqtt} are taken on 127.0.0.1: stop what listens there, or let the server pick free ports:\n  PORT=0 MQTT_PORT=0 npm start\n`,
    ])
  })

  it('when settings are wrong, with one sentence for each and without secrets', async () => {
    const end = await runUntilEnd({
      settings: {
        DATA_DIR: anotherFolder(),
        PORT: 'eighty',
        RETENTION_DAYS: '-1',
        ADMIN_TOKEN: 'too-short-secret',
        PUBLIC_TELEMETRY_READS: 'perhaps',
        DATABASE_URL: 'sqlite:///iotflow.db',
      },
    })
    const sentences = sentencesOf(end)
    expect(sentences.map((sentence) => sentence.split(' ')[0]).sort()).toEqual([
      'ADMIN_TOKEN',
      'DATABASE_URL',
      'PORT',
      'PUBLIC_TELEMETRY_READS',
      'RETENTION_DAYS',
    ])
    expect(end.err).not.toContain('too-short-secret')
  })

  it('when another server uses its folder, and this one keeps running', async () => {
    const device = await server.register()
    const end = await runUntilEnd({ settings: { DATA_DIR: server.dataDir } })
    expect(sentencesOf(end)).toEqual([
      `DATA_DIR ${server.dataDir} is in use by another IoTFlow: end that one, or set DATA_DIR to another folder.`,
    ])
    const { status } = await server.request('POST', '/api/v1/devices/telemetry', {
      key: device.key,
      body: { a: 1 },
    })
    expect(status).toBe(201)
  })

  it('when its folder cannot be written or created', async () => {
    const closed = anotherFolder()
    await mkdir(closed)
    await chmod(closed, 0o555)
    // Root may write everywhere unless the test gives up that right.
    const prefix = process.getuid?.() === 0 ? ['setpriv', '--bounding-set', '-dac_override'] : []
    const [unwritable, unmakeable, noFolder] = await Promise.all(
      [closed, `${closed}/below`, '/etc/hostname'].map((DATA_DIR) =>
        runUntilEnd({ prefix, settings: { DATA_DIR } }),
      ),
    )
    expect(sentencesOf(unwritable as Ended)).toEqual([`DATA_DIR ${closed} cannot be written to (EACCES).`])
    expect(sentencesOf(unmakeable as Ended)).toEqual([`DATA_DIR ${closed}/below cannot be made (EACCES).`])
    expect(sentencesOf(noFolder as Ended)).toEqual(['DATA_DIR /etc/hostname cannot be made (EEXIST).'])
  })
})

it('writes its admin token to a file that only its owner may read, and shows it nowhere else', async () => {
  const file = `${server.dataDir}/admin-token`
  const token = (await readFile(file, 'utf8')).trim()
  expect(token).toMatch(/^[A-Za-z0-9]{40}$/)
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  const headers = { Authorization: `Bearer ${token}` }
  const detailed = await server.request('GET', '/health?detailed=true', { headers })
  expect(detailed.status).toBe(200)
  expect(server.out()).toContain(`the token is in ${file}`)
  const { out, err } = { out: server.out(), err: JSON.stringify(server.log()) }
  expect(`${out}${err}`).not.toContain(token)
  for (const name of ['registry.db', 'telemetry.db'])
    expect((await stat(`${server.dataDir}/${name}`)).isFile()).toBe(true)
})

it('disconnects a device that becomes inactive, also after a restart of the server', async () => {
  const settings = { DATA_DIR: anotherFolder(), ADMIN_TOKEN: 'an-admin-token-of-the-tests' }
  const first = await startStandaloneServer({ settings })
  const device = await first.register()
  for (let times = 0; times < 3; times++) await (await first.mqtt(device)).endAsync()
  await first.stop()
  const second = await startStandaloneServer({ settings })
  try {
    const headers = { Authorization: `Bearer ${settings.ADMIN_TOKEN}` }
    const timesOnline = async () => {
      const { body } = await second.request('GET', `/api/v1/admin/devices/${device.id}/events`, { headers })
      return body.events.filter(({ event }: { event: string }) => event === 'online').length
    }
    const before = await timesOnline()
    const client = await second.mqtt(device)
    const closed = new Promise<void>((resolve) => client.once('close', () => resolve()))
    // The registry learns of a connection a moment after the client does.
    await until(async () => (await timesOnline()) > before, 'the registry knows of the connection', 500)
    const { body } = await second.request('PUT', `/api/v1/admin/devices/${device.id}/status`, {
      headers,
      body: { status: 'inactive' },
    })
    expect(body.sessions_ended).toBe(1)
    await closed
  } finally {
    await second.stop()
  }
})

describe.concurrent('a connection ends', () => {
  const rotate = async (device: Device, body?: object): Promise<Device> => {
    const { body: answer } = await server.request('POST', '/api/v1/devices/rotate-key', {
      key: device.key,
      body,
    })
    return { ...device, key: answer.api_key }
  }
  const connect = async (device: Device, clientId = `${device.id}`) => {
    const client = await server.mqtt(device, { clientId })
    const closed = new Promise<boolean>((resolve) => client.once('close', () => resolve(true)))
    return { endsWithin: (ms: number) => Promise.race([closed, sleep(ms, false, { ref: false })]) }
  }
  // The broker asks the authorizer again by itself, but later than this.
  const atOnce = 40_000

  it('when a rotation ends its key', async () => {
    const device = await server.register()
    const connection = await connect(device)
    await rotate(await rotate(device))
    expect(await connection.endsWithin(atOnce)).toBe(true)
  })

  it('when a rotation has no grace time, by the device or by the operator', async () => {
    const device = await server.register()
    const connection = await connect(device)
    const next = await rotate(device, { grace_s: 0 })
    expect(await connection.endsWithin(atOnce)).toBe(true)
    const again = await connect(next)
    const adminToken = (await readFile(`${server.dataDir}/admin-token`, 'utf8')).trim()
    const { status } = await server.request('POST', `/api/v1/admin/devices/${device.id}/rotate-key`, {
      headers: { Authorization: `Bearer ${adminToken}` },
      body: { grace_s: 0 },
    })
    expect(status).toBe(200)
    expect(await again.endsWithin(atOnce)).toBe(true)
  })

  it('when it has only just begun, under whatever client id', async () => {
    const devices = await Promise.all(Array.from({ length: 40 }, () => server.register()))
    const ends = await Promise.all(
      devices.map(async (device, at) => {
        const connection = await connect(device, at % 2 === 0 ? undefined : `${device.id}-new`)
        await rotate(device, { grace_s: 0 })
        return connection.endsWithin(atOnce)
      }),
    )
    expect(ends).toEqual(devices.map(() => true))
  })

  it('within a minute after the grace time of its key', async () => {
    const device = await server.register()
    const connection = await connect(device)
    await rotate(device, { grace_s: 1 })
    expect(await connection.endsWithin(150_000)).toBe(true)
  })
})

const unlimited = {
  RATE_LIMIT_PER_MINUTE: '0',
  RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
  RATE_LIMIT_IP_PER_MINUTE: '0',
}

interface Load {
  readonly device: Device
  /** The numbers of the acknowledged readings. */
  readonly acknowledged: Set<number>
}

/** Posts one reading after the other until a request fails. */
const overHttp = (on: StandaloneServer, device: Device): Load => {
  const acknowledged = new Set<number>()
  const run = async () => {
    for (let n = 0; ; n++) {
      const { status } = await on.request('POST', '/api/v1/devices/telemetry', {
        key: device.key,
        body: { n },
      })
      if (status === 201) acknowledged.add(n)
    }
  }
  run().catch(() => {})
  return { device, acknowledged }
}

/** Keeps several messages without acknowledgement on their way while the connection is open. */
const overMqtt = async (on: StandaloneServer, device: Device): Promise<Load> => {
  const acknowledged = new Set<number>()
  const client = await on.mqtt(device)
  let next = 0
  const publish = () => {
    const n = next++
    client.publish(`iotflow/devices/${device.id}/telemetry`, JSON.stringify({ n }), { qos: 1 }, (error) => {
      if (error) return
      acknowledged.add(n)
      publish()
    })
  }
  for (let under = 0; under < 10; under++) publish()
  client.on('close', () => client.end(true))
  return { device, acknowledged }
}

const storedOf = async (on: StandaloneServer, { id, key }: Device): Promise<Set<number>> => {
  const found = new Set<number>()
  let cursor: string | undefined = ''
  while (cursor !== undefined) {
    const path = `/api/v1/telemetry/${id}?start_time=-1h&limit=10000&cursor=${cursor}`
    const { body } = await on.request('GET', path, { key })
    for (const { n } of body.data) found.add(n)
    cursor = body.next_cursor
  }
  return found
}

describe('every acknowledged reading is stored after', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)('%s under load', async (signal) => {
    const settings = { ...unlimited, LOG_LEVEL: 'warn', DATA_DIR: anotherFolder() }
    const first = await startStandaloneServer({ settings })
    const devices = await Promise.all(Array.from({ length: 6 }, () => first.register()))
    const loads = await Promise.all(
      devices.map((device, index) => (index % 2 === 0 ? overHttp(first, device) : overMqtt(first, device))),
    )
    await until(() => loads.every(({ acknowledged }) => acknowledged.size > 50), 'load from every device')
    const began = performance.now()
    first.kill(signal)
    const end = await first.ended
    const ms = performance.now() - began
    if (signal === 'SIGKILL') expect(end.signal).toBe('SIGKILL')
    else expect([end.code, end.err]).toEqual([0, ''])

    const second = await startStandaloneServer({ settings })
    let [acknowledged, stored] = [0, 0]
    for (const load of loads) {
      const found = await storedOf(second, load.device)
      expect([...load.acknowledged].filter((n) => !found.has(n))).toEqual([])
      acknowledged += load.acknowledged.size
      stored += found.size
    }
    console.log(
      `${signal} under load: ended after ${Math.round(ms)} ms, ${acknowledged} readings acknowledged, ${stored} stored`,
    )
    await second.stop()
  })
})

describe.concurrent('Ctrl-C', () => {
  /** A running server with an unfinished request, so that it does not stop at once. */
  const busyMachine = async () => {
    const busy = await startStandaloneServer({ settings: { DATA_DIR: anotherFolder() } })
    const wire = await openWire(busy.httpUrl)
    wire.send(
      'POST /api/v1/devices/register HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
    )
    await busy.request('GET', '/health')
    return busy
  }

  it('counts once when it arrives twice at the same moment, as npm sends it', async () => {
    const busy = await busyMachine()
    busy.kill('SIGINT')
    await sleep(100)
    busy.kill('SIGINT')
    expect(await busy.ended).toMatchObject({ code: 0, signal: null })
  })

  it('stops the server at once when it comes a second time, later', async () => {
    const busy = await busyMachine()
    busy.kill('SIGINT')
    await sleep(800)
    busy.kill('SIGINT')
    expect(await busy.ended).toMatchObject({ code: 130, signal: null })
  })
})

it('allows browser calls and their preflight requests only for the origins in CORS_ORIGINS', async () => {
  const ask = (at: StandaloneServer, origin: string, method: string) =>
    at.request(method, '/api/v1/telemetry/status', {
      headers: {
        Origin: origin,
        'Access-Control-Request-Method': 'PUT',
        'Access-Control-Request-Headers': 'if-none-match',
      },
    })
  for (const method of ['GET', 'OPTIONS'])
    expect(
      (await ask(server, 'https://app.example', method)).headers.get('access-control-allow-origin'),
    ).toBeNull()
  const opened = await startStandaloneServer({ settings: { CORS_ORIGINS: 'https://app.example' } })
  try {
    for (const method of ['GET', 'OPTIONS']) {
      const { headers } = await ask(opened, 'https://app.example', method)
      expect(headers.get('access-control-allow-origin'), method).toBe('https://app.example')
      expect(headers.get('access-control-expose-headers')).toContain('RateLimit-Reset')
      expect(headers.get('x-request-id'), method).toMatch(/^\w+$/)
      expect(headers.get('x-content-type-options'), method).toBe('nosniff')
      const other = await ask(opened, 'https://other.example', method)
      expect(other.headers.get('access-control-allow-origin'), method).toBeNull()
    }
    const { status, headers } = await ask(opened, 'https://app.example', 'OPTIONS')
    expect(status).toBe(204)
    expect(headers.get('access-control-allow-headers')).toContain('If-None-Match')
  } finally {
    await opened.stop()
  }
})
