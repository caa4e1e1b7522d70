/** Every program and every setting of examples/, against a running server. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connectAsync } from 'mqtt'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { root } from '../../lib/root.ts'
import { describeWith } from '../support/backends.ts'
import { freePort } from '../support/free-port.ts'
import { mosquittoProgram, opens } from '../support/mosquitto.ts'
import { hasCompiler, pahoPython, runProgram } from '../support/programs.ts'
import { type Device, type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { eventually, until } from '../support/waiting.ts'
import { startReceiver } from '../support/webhook-receiver.ts'

const rootFolder = fileURLToPath(root)
const example = (path: string) => join(rootFolder, 'examples', path)
const textOf = (path: string) => readFileSync(example(path), 'utf8')
const adminToken = 'an-admin-token-for-these-tests'

let server: StandaloneServer
let folder: Awaited<ReturnType<typeof temporaryFolder>>
beforeAll(async () => {
  folder = await temporaryFolder()
  server = await startStandaloneServer({
    settings: {
      ADMIN_TOKEN: adminToken,
      RATE_LIMIT_IP_PER_MINUTE: '0',
      WEBHOOK_PRIVATE_ADDRESSES: '127.0.0.1',
    },
  })
})
afterAll(async () => {
  await server?.stop()
  await folder?.remove()
})

/** Runs a program in the temporary folder, where it keeps its key. @returns its output. @throws {Error} when it fails. */
const run = async (program: string, ...args: string[]): Promise<string> => {
  const env = { IOTFLOW_URL: server.httpUrl, ADMIN_TOKEN: adminToken }
  const { code, out, err } = await runProgram(program, args, { cwd: folder.path, env })
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}:\n${out}${err}`)
  return out
}

interface Reading {
  readonly metadata?: Record<string, string>
  readonly [field: string]: unknown
}

/** The readings of a device, the oldest first. */
const readingsOf = async (id: number): Promise<Reading[]> =>
  (await server.request('GET', `/api/v1/telemetry/${id}?start_time=-1d&order=asc`)).body.data

const listed = async (name: string): Promise<{ id: number; is_online: boolean }> => {
  const headers = { Authorization: `Bearer ${adminToken}` }
  const { body } = await server.request('GET', `/api/v1/admin/devices?q=${name}`, { headers })
  return body.devices[0]
}

it('curl: registers once, and sends readings', async () => {
  await run('sh', example('curl/device.sh'), 'shell-1', '0', '2')
  await run('sh', example('curl/device.sh'), 'shell-1', '0', '1')
  const readings = await readingsOf((await listed('shell-1')).id)
  expect(readings).toHaveLength(3)
  for (const { load } of readings) expect(load).toEqual(expect.any(Number))
})

it('Node: a device over MQTT, and the report of an operator', async () => {
  expect(await run(process.execPath, example('node/device.mjs'), 'node-1', '0', '2')).toBe(
    '1 acknowledged\n2 acknowledged\n',
  )
  await run(process.execPath, example('node/device.mjs'), 'node-1', '0', '1')
  const readings = await readingsOf((await listed('node-1')).id)
  expect(readings).toHaveLength(3)
  for (const { load, free_memory } of readings)
    expect([load, free_memory]).toEqual([expect.any(Number), expect.any(Number)])
  const report = await run(process.execPath, example('node/operator.mjs'))
  expect(report).toMatch(/^node-1 (?:online|offline) \{.*"free_memory":\d+/m)
})

describeWith({ paho: pahoPython !== undefined }, 'Python', () => {
  it('over HTTP: keeps its readings while the server is away', async () => {
    const python = (...args: string[]) =>
      run(pahoPython ?? '', example('python/http_device.py'), '--interval', '0', ...args)
    await python('--name', 'python-1', '--count', '1')
    const { id } = await listed('python-1')
    const port = await freePort()
    // The way to the server opens when the device has found nobody there.
    const gate = createServer((one) => {
      const other = connect(Number(new URL(server.httpUrl).port), '127.0.0.1')
      for (const end of [one, other]) end.on('error', () => [one, other].map((socket) => socket.destroy()))
      one.pipe(other).pipe(one)
    })
    const { code, out, err } = await runProgram(
      pahoPython ?? '',
      [
        ...[example('python/http_device.py'), '--interval', '0.05', '--name', 'python-1', '--count', '3'],
        ...['--url', `http://127.0.0.1:${port}`],
      ],
      {
        cwd: folder.path,
        onOutput: (said) => {
          if (said.includes('no answer') && !gate.listening) gate.listen(port, '127.0.0.1')
        },
      },
    )
    gate.close()
    expect([code, err]).toEqual([0, ''])
    expect(out).toBe('no answer: ConnectionError\n201: 3 sent\n')
    const readings = await readingsOf(id)
    expect(readings).toHaveLength(4)
    for (const { temperature } of readings) expect(temperature).toEqual(expect.any(Number))
  })

  it('over MQTT: one reading', async () => {
    const { id, key } = await server.register()
    const { code, out, err } = await runProgram(
      pahoPython ?? '',
      [
        ...[example('python/mqtt_reading.py'), '--id', `${id}`, '--host', '127.0.0.1'],
        ...['--port', new URL(server.mqttUrl).port, '{"temperature": 21.5}'],
      ],
      { cwd: folder.path, env: { API_KEY: key } },
    )
    expect([code, out, err]).toEqual([0, 'acknowledged\n', ''])
    expect(await readingsOf(id)).toMatchObject([{ temperature: 21.5 }])
  })
})

describeWith({ 'g++': hasCompiler }, 'ESP32', () => {
  it('compiles, connects, and sends a reading a minute', async () => {
    const device = await server.register()
    const sketch = textOf('esp32/esp32.ino')
      .replace('"iotflow.example"', `"127.0.0.1"`)
      .replace('DEVICE_ID = "7"', `DEVICE_ID = "${device.id}"`)
      .replace('"the-key-of-the-device"', `"${device.key}"`)
    const source = join(folder.path, 'esp32.ino')
    const program = join(folder.path, 'esp32')
    await writeFile(source, sketch)
    const stubs = join(rootFolder, 'tests/examples/arduino')
    const warnings = ['-std=c++17', '-Wall', '-Wextra', '-Werror']
    await run('g++', ...warnings, '-I', stubs, `-DSKETCH="${source}"`, '-o', program, join(stubs, 'main.cpp'))
    const calls = (await run(program))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as [string, ...never[]])

    const [connected, ...published] = calls
    const [, , port, clientId, username, password, topic, qos, retain, payload] = connected ?? ['']
    expect(port).toBe(8883)
    const will = { topic: topic ?? '', payload: Buffer.from(payload ?? ''), qos: qos ?? 0, retain }
    const client = await connectAsync(server.mqttUrl, {
      ...{ clientId, username, password, will, protocolVersion: 4, reconnectPeriod: 0 },
    } as Parameters<typeof connectAsync>[1] & object)
    for (const [, name, text, retained] of published as unknown as [string, string, string, boolean][])
      await client.publishAsync(name, text, { qos: 1, retain: retained })
    await client.endAsync()
    // At once, after one minute, and after two.
    expect(published).toHaveLength(4)
    expect(await readingsOf(device.id)).toMatchObject([{ temperature: 21.5, rssi: -61 }])
  })
})

/** The value of a setting in the example of Tasmota. */
const tasmota = (name: string): string =>
  new RegExp(`\\b${name} ([^;\\n]+)`).exec(textOf('tasmota/settings.txt'))?.[1] ?? `no ${name}`

/** The topic to which Tasmota publishes with the settings of the example. @param prefix 1: commands, 2: results, 3: telemetry. */
const tasmotaTopic = (prefix: 1 | 2 | 3, { id }: Device, end: string) =>
  tasmota('FullTopic')
    .replace('%topic%', `${id}`)
    .replace('%prefix%', tasmota(`Prefix${prefix}`)) + end

it('Tasmota: what a device with these settings publishes is stored', async () => {
  const device = await server.register('tasmota-1')
  // Without these it publishes retained telemetry, words that are no JSON, and topics outside its own.
  expect(['SetOption104', 'SetOption90', 'SetOption19'].map(tasmota)).toEqual(['1', '1', '1'])
  expect([tasmota('MqttClient'), tasmota('MqttUser'), tasmota('Topic')]).toEqual(['7', '7', '7'])
  const payload = Buffer.from('Offline')
  const client = await server.mqtt(device, {
    will: { topic: tasmotaTopic(3, device, 'LWT'), payload, qos: 1, retain: false },
  })
  const commands: string[] = []
  client.on('message', (topic, text) => commands.push(`${topic} ${text.toString()}`))
  await client.subscribeAsync(tasmotaTopic(1, device, '#'))
  // Topics of groups and of the fallback are not the device's own: the broker refuses them and the connection stays.
  for (const name of ['tasmotas', 'DVES_123456_fb'])
    await client
      .subscribeAsync(tasmotaTopic(1, device, '#').replace(`/${device.id}/`, `/${name}/`))
      .catch(() => {})
  const time = new Date().toISOString().slice(0, 19)
  const messages = [
    [3, 'STATE', { Time: time, UptimeSec: 900, POWER: 'OFF', Wifi: { RSSI: 100, Signal: -50 } }],
    [3, 'SENSOR', { Time: time, AM2301: { Temperature: 22.1, Humidity: 53.5 }, TempUnit: 'C' }],
    [3, 'INFO3', { Info3: { RestartReason: 'Power On', BootCount: 3 } }],
    [2, 'RESULT', { POWER: 'ON' }],
  ] as const
  for (const [prefix, end, body] of messages)
    await client.publishAsync(tasmotaTopic(prefix, device, end), JSON.stringify(body), { qos: 0 })
  await client.publishAsync(tasmotaTopic(3, device, 'LWT'), 'Online', { qos: 1 })

  const headers = { Authorization: `Bearer ${adminToken}` }
  const body = { topic: `iotflow/devices/${device.id}/commands/POWER`, payload: 'TOGGLE' }
  await server.request('POST', '/api/v1/admin/mqtt/publish', { headers, body })
  await until(() => commands.length > 0, 'a command')
  expect(commands).toEqual([`iotflow/devices/${device.id}/commands/POWER TOGGLE`])
  expect(client.connected).toBe(true)
  await client.endAsync()
  // What was measured in the same second is one reading.
  expect(Object.assign({}, ...(await readingsOf(device.id)))).toMatchObject({
    ...{ POWER: 'ON', UptimeSec: 900, 'Wifi.Signal': -50, 'Info3.BootCount': 3 },
    ...{ 'AM2301.Temperature': 22.1, 'AM2301.Humidity': 53.5 },
  })
  const { body: letters } = await server.request('GET', '/api/v1/admin/dead-letters', { headers })
  expect(letters.dead_letters.map(({ topic }: { topic: string }) => topic)).toEqual([
    tasmotaTopic(3, device, 'LWT'),
  ])
})

describeWith({ mosquitto: mosquittoProgram !== undefined }, 'Zigbee2MQTT', () => {
  let mosquitto: ChildProcess | undefined
  afterAll(() => mosquitto?.kill())

  it('its Mosquitto passes the messages of a Zigbee device on', async () => {
    const device = await server.register('zigbee-1')
    const port = await freePort()
    const bridge = textOf('zigbee2mqtt/mosquitto-bridge.conf')
      .replace('iotflow.example:1883', `127.0.0.1:${new URL(server.mqttUrl).port}`)
      .replaceAll(/(remote_clientid|remote_username) 7/g, `$1 ${device.id}`)
      .replace('the-key-of-the-device', device.key)
      .replace('devices/7/', `devices/${device.id}/`)
    const file = join(folder.path, 'mosquitto.conf')
    await writeFile(file, `listener ${port} 127.0.0.1\nallow_anonymous true\n${bridge}`)
    mosquitto = spawn(mosquittoProgram ?? '', ['-v', '-c', file], { stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    mosquitto.stderr?.on('data', (chunk) => {
      said += chunk
    })
    await opens(port)
    const zigbee = await connectAsync(`mqtt://127.0.0.1:${port}`)
    const messages = [
      { temperature: 27.34, humidity: 44.72, battery: 97, voltage: 2985, linkquality: 120 },
      { state: 'ON', brightness: 215, color_temp: 325, update: { state: 'idle' } },
    ]
    // With QoS 1 they wait in Mosquitto until its bridge is connected.
    for (const message of messages)
      await zigbee.publishAsync('zigbee2mqtt/living_room', JSON.stringify(message), { qos: 1, retain: true })
    await zigbee.publishAsync('zigbee2mqtt/bridge/state', '{"state":"online"}', { retain: true })
    const wanted = messages.map(({ update, ...values }) =>
      expect.objectContaining({ ...values, ...(update && { 'update.state': 'idle' }) }),
    )
    // Mosquitto 2.0 may send a message twice that waited for its bridge.
    await eventually(async () =>
      expect(await readingsOf(device.id), said).toEqual(expect.arrayContaining(wanted)),
    )
    expect((await readingsOf(device.id)).length).toBeLessThan(5)
    await zigbee.endAsync()
  })
})

it('examples that are programs say how they are started', () => {
  const files = spawnSync('git', ['ls-files', 'examples'], { cwd: rootFolder, encoding: 'utf8' }).stdout
  for (const file of files.split('\n').filter((name) => /\.(?:sh|py|mjs)$/.test(name)))
    expect(readFileSync(join(rootFolder, file), 'utf8').slice(0, 600), file).toContain(file)
})

it('webhook relay: hands genuine messages on in the shape of each target, and is told again what was not taken', async () => {
  const target = await startReceiver()
  const headers = { Authorization: `Bearer ${adminToken}` }
  const relays: ChildProcess[] = []
  /** Starts a relay in front of the target. @returns the path of its webhook. */
  const relayTo = async (name: string) => {
    const port = await freePort()
    const url = `http://127.0.0.1:${port}/`
    const { body: made } = await server.request('POST', '/api/v1/admin/webhooks', {
      headers,
      body: { name, url, events: ['device.registered'] },
    })
    const env = {
      PATH: process.env.PATH,
      WEBHOOK_SECRET: made.secret,
      TARGET: name,
      TARGET_URL: target.url,
      ROUTING_KEY: 'key of the service',
      PORT: String(port),
    }
    relays.push(spawn(process.execPath, [example('node/webhook-relay.mjs')], { env, stdio: 'ignore' }))
    await opens(port)
    return { path: `/api/v1/admin/webhooks/${made.webhook.id}`, url }
  }
  const test = async (path: string) => (await server.request('POST', `${path}/test`, { headers })).body
  try {
    const { path, url } = await relayTo('slack')
    expect((await test(path)).delivered).toBe(true)
    expect(target.received.map(({ body }) => body)).toEqual([{ text: 'webhook.test' }])
    const forged = { 'webhook-id': 'x', 'webhook-timestamp': '1', 'webhook-signature': 'v1,AAAA' }
    expect((await fetch(url, { method: 'POST', headers: forged, body: '{}' })).status).toBe(401)
    target.answer(503)
    expect(await test(path)).toMatchObject({ delivered: false, attempt: { status_code: 502 } })
    target.answer(204)
    for (const name of ['teams', 'pagerduty'])
      expect((await test((await relayTo(name)).path)).delivered).toBe(true)
    const [teams, pagerduty] = target.received.slice(-2).map(({ body }) => body)
    expect(teams).toMatchObject({ type: 'message', attachments: [{ content: { type: 'AdaptiveCard' } }] })
    expect(pagerduty).toMatchObject({ routing_key: 'key of the service', event_action: 'trigger' })
  } finally {
    for (const relay of relays) relay.kill()
    await target.close()
  }
})
