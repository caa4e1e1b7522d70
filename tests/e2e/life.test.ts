/** From start to end: what stops a start is said in one sentence, and what was acknowledged outlives every end. */
import { chmod, mkdir, readFile, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Device, type Ended, type Machine, runMachine, startMachine } from '../support/machine.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { openWire, until } from './wire.ts'

let machine: Machine
let folder: Awaited<ReturnType<typeof temporaryFolder>>
beforeAll(async () => {
  folder = await temporaryFolder()
  machine = await startMachine()
})
afterAll(async () => {
  await machine?.stop()
  await folder?.remove()
})

/** The sentences a start ended with, each on its line; nothing else may have been said. */
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
  it('when a port is taken, naming its setting', async () => {
    const portOf = (url: string) => new URL(url).port
    const taken = {
      PORT: portOf(machine.httpUrl),
      MQTT_PORT: portOf(machine.mqttUrl),
      MQTT_WS_PORT: portOf(machine.wsUrl),
    }
    const ends = await Promise.all(
      Object.entries(taken).map(([name, port]) =>
        runMachine({ settings: { DATA_DIR: anotherFolder(), [name]: port } }),
      ),
    )
    expect(ends.map(sentencesOf)).toEqual(
      Object.entries(taken).map(([name, port]) => [
        `${name} ${port} is taken on 127.0.0.1: stop what listens there, or set ${name} to another port or 0 for a free one.`,
      ]),
    )
  })

  it('when settings are bad, with one sentence for each and no secret', async () => {
    const end = await runMachine({
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

  it('when another one runs on its folder, which goes on undisturbed', async () => {
    const device = await machine.register()
    const end = await runMachine({ settings: { DATA_DIR: machine.dataDir } })
    expect(sentencesOf(end)).toEqual([
      `DATA_DIR ${machine.dataDir} is in use by another IoTFlow: end that one, or set DATA_DIR to another folder.`,
    ])
    const { status } = await machine.request('POST', '/api/v1/devices/telemetry', {
      key: device.key,
      body: { a: 1 },
    })
    expect(status).toBe(201)
  })

  it('when its folder cannot be written to, or cannot be made', async () => {
    const closed = anotherFolder()
    await mkdir(closed)
    await chmod(closed, 0o555)
    // Nothing is closed to root, unless it gives up that right.
    const prefix = process.getuid?.() === 0 ? ['setpriv', '--bounding-set', '-dac_override'] : []
    const [unwritable, unmakeable, noFolder] = await Promise.all(
      [closed, `${closed}/below`, '/etc/hostname'].map((DATA_DIR) =>
        runMachine({ prefix, settings: { DATA_DIR } }),
      ),
    )
    expect(sentencesOf(unwritable as Ended)).toEqual([`DATA_DIR ${closed} cannot be written to (EACCES).`])
    expect(sentencesOf(unmakeable as Ended)).toEqual([`DATA_DIR ${closed}/below cannot be made (EACCES).`])
    expect(sentencesOf(noFolder as Ended)).toEqual(['DATA_DIR /etc/hostname cannot be made (EEXIST).'])
  })
})

it('keeps its admin token in a file for its owner, and says it nowhere else', async () => {
  const file = `${machine.dataDir}/admin-token`
  const token = (await readFile(file, 'utf8')).trim()
  expect(token).toMatch(/^[A-Za-z0-9]{40}$/)
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  const headers = { Authorization: `Bearer ${token}` }
  const detailed = await machine.request('GET', '/health?detailed=true', { headers })
  expect(detailed.status).toBe(200)
  expect(machine.out()).toContain(`the token is in ${file}`)
  const { out, err } = { out: machine.out(), err: JSON.stringify(machine.log()) }
  expect(`${out}${err}`).not.toContain(token)
  for (const name of ['registry.db', 'telemetry.db'])
    expect((await stat(`${machine.dataDir}/${name}`)).isFile()).toBe(true)
})

it('cuts off a device that is made inactive, also when it was connected before a new start', async () => {
  const settings = { DATA_DIR: anotherFolder(), ADMIN_TOKEN: 'an-admin-token-of-the-tests' }
  const first = await startMachine({ settings })
  const device = await first.register()
  for (let times = 0; times < 3; times++) await (await first.mqtt(device)).endAsync()
  await first.stop()
  const second = await startMachine({ settings })
  try {
    const client = await second.mqtt(device)
    const closed = new Promise<void>((resolve) => client.once('close', () => resolve()))
    const { body } = await second.request('PUT', `/api/v1/admin/devices/${device.id}/status`, {
      headers: { Authorization: `Bearer ${settings.ADMIN_TOKEN}` },
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
    const { body: answer } = await machine.request('POST', '/api/v1/devices/rotate-key', {
      key: device.key,
      body,
    })
    return { ...device, key: answer.api_key }
  }
  const connect = async (device: Device) => {
    const client = await machine.mqtt(device)
    const closed = new Promise<boolean>((resolve) => client.once('close', () => resolve(true)))
    return { endsWithin: (ms: number) => Promise.race([closed, sleep(ms, false, { ref: false })]) }
  }
  // The broker asks again for rights by itself, but not as soon as this.
  const atOnce = 10_000

  it('when a rotation ends the key that it was made with', async () => {
    const device = await machine.register()
    const connection = await connect(device)
    await rotate(await rotate(device))
    expect(await connection.endsWithin(atOnce)).toBe(true)
  })

  it('when a rotation leaves no grace, by the device as well as by an operator', async () => {
    const device = await machine.register()
    const connection = await connect(device)
    const next = await rotate(device, { grace_s: 0 })
    expect(await connection.endsWithin(atOnce)).toBe(true)
    const again = await connect(next)
    const adminToken = (await readFile(`${machine.dataDir}/admin-token`, 'utf8')).trim()
    const { status } = await machine.request('POST', `/api/v1/admin/devices/${device.id}/rotate-key`, {
      headers: { Authorization: `Bearer ${adminToken}` },
      body: { grace_s: 0 },
    })
    expect(status).toBe(200)
    expect(await again.endsWithin(atOnce)).toBe(true)
  })

  it('within a minute of the end of the grace of its key', async () => {
    const device = await machine.register()
    const connection = await connect(device)
    await rotate(device, { grace_s: 1 })
    expect(await connection.endsWithin(61_000)).toBe(true)
  })
})

const unlimited = {
  RATE_LIMIT_PER_MINUTE: '0',
  RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
  RATE_LIMIT_IP_PER_MINUTE: '0',
}

interface Load {
  readonly device: Device
  /** What was acknowledged, by its number. */
  readonly acknowledged: Set<number>
}

/** Posts one reading after the other until that fails. */
const overHttp = (on: Machine, device: Device): Load => {
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

/** Keeps some messages under way as long as the connection lasts. */
const overMqtt = async (on: Machine, device: Device): Promise<Load> => {
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

const storedOf = async (on: Machine, { id, key }: Device): Promise<Set<number>> => {
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

describe('every reading that was acknowledged is there after', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)('%s under load', async (signal) => {
    const settings = { ...unlimited, LOG_LEVEL: 'warn', DATA_DIR: anotherFolder() }
    const first = await startMachine({ settings })
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
    else {
      expect([end.code, end.err]).toEqual([0, ''])
      expect(ms).toBeLessThan(5000)
    }

    const second = await startMachine({ settings })
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
  /** Running, with a request under way that keeps it from ending at once. */
  const busyMachine = async () => {
    const busy = await startMachine({ settings: { DATA_DIR: anotherFolder() } })
    const wire = await openWire(busy.httpUrl)
    wire.send(
      'POST /api/v1/devices/register HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
    )
    await busy.request('GET', '/health')
    return busy
  }

  it('twice at once, as npm forwards it, counts as one', async () => {
    const busy = await busyMachine()
    busy.kill('SIGINT')
    await sleep(100)
    busy.kill('SIGINT')
    expect(await busy.ended).toMatchObject({ code: 0, signal: null })
  })

  it('a second time, later, does not wait', async () => {
    const busy = await busyMachine()
    busy.kill('SIGINT')
    await sleep(800)
    busy.kill('SIGINT')
    expect(await busy.ended).toMatchObject({ code: 130, signal: null })
  })
})

it('answers browsers from CORS_ORIGINS, before a call as well as in it, and none otherwise', async () => {
  const ask = (at: Machine, origin: string, method: string) =>
    at.request(method, '/api/v1/telemetry/status', {
      headers: {
        Origin: origin,
        'Access-Control-Request-Method': 'PUT',
        'Access-Control-Request-Headers': 'if-none-match',
      },
    })
  for (const method of ['GET', 'OPTIONS'])
    expect(
      (await ask(machine, 'https://app.example', method)).headers.get('access-control-allow-origin'),
    ).toBeNull()
  const opened = await startMachine({ settings: { CORS_ORIGINS: 'https://app.example' } })
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
