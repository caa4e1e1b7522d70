/** Scenarios: floods and clients that only use resources. Accepted readings are stored, and other clients are served. */
import { Agent, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectAsync } from 'mqtt'
import mqttPacket from 'mqtt-packet'
import { type Device, type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { maxGrowth, mb, spread, watchMemory, withSmallHeap } from './figures.ts'
import { freely } from './kills.ts'
import { startLoad } from './load.ts'
import { note, type Recorder, startRecorder } from './recorder.ts'
import type { Size } from './scenarios.ts'
import { judge, type Verdict } from './verdict.ts'

interface Answered {
  readonly status: number
  readonly ms: number
  readonly retryAfter: string | undefined
}

let clock = BigInt(Date.now() - 3_600_000) * 1_000_000n
const batchOf = (size: number) =>
  Array.from({ length: size }, () => {
    clock += 1_000_003n
    return { timestamp: String(clock), data: { n: Number(clock % 1_000_000_007n), v: 1 } }
  })

/** Posts batches over many connections at once. They bypass the recorder; this function itself records their outcomes. */
async function flood(
  server: StandaloneServer,
  { sent, acknowledged }: Pick<Recorder, 'sent' | 'acknowledged'>,
  devices: readonly Device[],
  seconds: number,
): Promise<{ answers: Answered[]; unanswered: number }> {
  // More than the batches that may wait to be written: the server has to refuse some.
  const connections = 600
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const answers: Answered[] = []
  const until = performance.now() + seconds * 1000
  let unanswered = 0
  const post = (device: Device) =>
    new Promise<void>((resolve) => {
      const batch = JSON.stringify(batchOf(100))
      note(sent, device.id, batch)
      const began = performance.now()
      const outgoing = request(
        `${server.httpUrl}/api/v1/devices/telemetry`,
        { method: 'POST', agent, headers: { 'Content-Type': 'application/json', 'X-API-Key': device.key } },
        (response) => {
          response.resume()
          response.on('end', () => {
            const status = response.statusCode ?? 0
            if (status < 300) note(acknowledged, device.id, batch)
            const retryAfter = response.headers['retry-after']
            answers.push({ status, ms: performance.now() - began, retryAfter })
            resolve()
          })
        },
      )
      outgoing.on('error', () => {
        unanswered += 1
        resolve()
      })
      outgoing.end(batch)
    })
  await Promise.all(
    Array.from({ length: connections }, async (_, n) => {
      const device = devices[n % devices.length] as Device
      while (performance.now() < until) await post(device)
    }),
  )
  agent.destroy()
  return { answers, unanswered }
}

/** Publishes messages as fast as the connections accept them, without waiting for acknowledgements. */
async function mqttFlood(
  server: StandaloneServer,
  { sent, acknowledged }: Pick<Recorder, 'sent' | 'acknowledged'>,
  devices: readonly Device[],
  seconds: number,
): Promise<{ published: number; acknowledged: number; cutOff: number }> {
  const until = performance.now() + seconds * 1000
  let [published, came, cutOff] = [0, 0, 0]
  const publish = async ({ id, key }: Device) => {
    const socket = connect(Number(new URL(server.mqttUrl).port), '127.0.0.1')
    socket.on('error', () => {})
    const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    const parser = mqttPacket.parser()
    const waiting = new Map<number, string>()
    const accepted = new Promise<void>((resolve) => {
      parser.on('packet', (packet: mqttPacket.Packet) => {
        if (packet.cmd === 'connack' && packet.returnCode === 0) resolve()
        const payload = packet.cmd === 'puback' ? waiting.get(packet.messageId ?? 0) : undefined
        if (payload === undefined) return
        waiting.delete(packet.messageId ?? 0)
        note(acknowledged, id, payload)
        came += 1
      })
    })
    socket.on('data', (chunk) => parser.parse(chunk))
    const login = { clientId: `${id}`, username: `${id}`, password: Buffer.from(key) }
    socket.write(
      mqttPacket.generate({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 4,
        clean: true,
        keepalive: 0,
        ...login,
      }),
    )
    await Promise.race([accepted, gone])
    const topic = `iotflow/devices/${id}/telemetry`
    for (
      let messageId = 1;
      messageId < 65_536 && performance.now() < until && !socket.destroyed;
      messageId += 1
    ) {
      const payload = JSON.stringify(batchOf(1)[0])
      note(sent, id, payload)
      waiting.set(messageId, payload)
      published += 1
      const full = !socket.write(
        mqttPacket.generate({ cmd: 'publish', topic, payload, qos: 1, messageId, dup: false, retain: false }),
      )
      // Only the back-pressure of the connection slows it down.
      if (full)
        await Promise.race([
          new Promise<void>((resolve) => socket.once('drain', resolve)),
          gone,
          sleep(Math.max(0, until - performance.now())),
        ])
      else if (messageId % 20 === 0) await sleep(0)
    }
    // Messages on their way are acknowledged now or never.
    for (let quiet = 0, before = came; waiting.size > 0 && quiet < 50 && !socket.destroyed; before = came) {
      await sleep(100)
      quiet = came === before ? quiet + 1 : 0
    }
    if (socket.destroyed) cutOff += 1
    socket.destroy()
  }
  await Promise.all(devices.map(publish))
  return { published, acknowledged: came, cutOff }
}

const open = (port: number, send: string) =>
  new Promise<Socket>((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      if (send !== '') socket.write(send)
      resolve(socket)
    })
    socket.on('error', reject)
    socket.resume()
  }).then((socket) => {
    socket.on('error', () => {})
    return socket
  })

/** Opens connections without requests, and requests whose head or body never ends. */
async function costly(server: StandaloneServer, { key }: Device, idle: number): Promise<Socket[]> {
  const port = Number(new URL(server.httpUrl).port)
  const slowBody =
    `POST /api/v1/devices/telemetry HTTP/1.1\r\nHost: x\r\nX-API-Key: ${key}\r\n` +
    'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{'
  const hugeHead = `GET /health HTTP/1.1\r\nHost: x\r\nX-Much: ${'x'.repeat(100_000)}`
  const sockets: Socket[] = []
  for (let n = 0; n < idle; n += 200)
    sockets.push(
      ...(await Promise.all(Array.from({ length: Math.min(200, idle - n) }, () => open(port, '')))),
    )
  for (const text of [slowBody, hugeHead])
    sockets.push(...(await Promise.all(Array.from({ length: 100 }, () => open(port, text)))))
  return sockets
}

/** All devices connect at the same moment. */
async function storm(
  server: StandaloneServer,
  devices: readonly Device[],
): Promise<{ seconds: number; connected: number }> {
  const began = performance.now()
  const clients = await Promise.allSettled(
    devices.map(({ id, key }) =>
      connectAsync(server.mqttUrl, {
        protocolVersion: 4,
        clientId: `${id}`,
        username: `${id}`,
        password: key,
        reconnectPeriod: 500,
        connectTimeout: 120_000,
      }),
    ),
  )
  const seconds = (performance.now() - began) / 1000
  const connected = clients.filter(({ status }) => status === 'fulfilled').length
  await Promise.all(
    clients.map((client) => (client.status === 'fulfilled' ? client.value.endAsync(true) : undefined)),
  )
  return { seconds, connected }
}

export async function overload(size: Size, progress: (text: string) => void): Promise<Verdict[]> {
  const recorder = await startRecorder()
  const server = await startStandaloneServer({
    settings: { ...freely, ...withSmallHeap, LOG_LEVEL: 'silent' },
  })
  try {
    recorder.pointTo(server)
    const devices = await Promise.all(Array.from({ length: 20 }, (_, n) => server.register(`over-${n}`)))
    const others = devices.slice(0, 4)
    const load = await startLoad({ recorder, http: others.slice(0, 2), mqtt: others.slice(2), rate: 20 })
    await sleep(1000)
    const failures: string[] = []
    const expectThat = (holds: boolean, otherwise: string) => {
      if (!holds) failures.push(otherwise)
    }
    const reached = () => others.map(({ id }) => recorder.acknowledged.get(id)?.size ?? 0)
    /** Measures the answers to well-behaved devices and the memory growth during an attack. */
    const beside = async <T>(what: string, act: () => Promise<T>): Promise<T> => {
      const memory = watchMemory(server)
      const before = reached()
      load.latencies()
      const result = await act()
      const latencies = load.latencies()
      memory.stop()
      const more = reached().map((count, n) => count - (before[n] ?? 0))
      progress(
        `${what}: the others have ${spread(latencies)}, ${more.join(', ')} readings acknowledged, ` +
          `resident memory +${mb(memory.growth())} MB at most`,
      )
      expectThat(more[0] !== 0 || more[1] !== 0, `${what}: the others got nothing acknowledged over HTTP`)
      const stands = () => reached().every((count, n) => n < 2 || count === before[n])
      for (let tenths = 0; stands() && tenths < 600; tenths += 1) await sleep(100)
      expectThat(!stands(), `${what}: 60 s after it the others still got nothing acknowledged over MQTT`)
      expectThat(
        memory.growth() <= maxGrowth,
        `${what}: resident memory grew by ${mb(memory.growth())} MB, allowed are ${mb(maxGrowth)} MB`,
      )
      return result
    }

    const { answers, unanswered } = await beside(`flood of ${size.floodS} s`, () =>
      flood(server, recorder, devices.slice(4), size.floodS),
    )
    const taken = answers.filter(({ status }) => status < 300)
    const refused = answers.filter(({ status }) => status === 503 || status === 429)
    const times = (list: readonly Answered[]) => list.map(({ ms }) => ms).sort((one, other) => one - other)
    const refusals = times(refused)
    progress(
      `batches of 100 accepted: ${spread(times(taken))}; refused: ${spread(refusals)}; ${unanswered} without an answer`,
    )
    expectThat(
      answers.length === taken.length + refused.length,
      'a request was answered with another status than 2xx, 429 or 503',
    )
    expectThat(unanswered <= answers.length / 100, `${unanswered} requests got no answer`)
    expectThat(refused.length > 0, 'nothing was refused: the flood was too small')
    expectThat(
      refused.every(({ retryAfter }) => Number(retryAfter) >= 1),
      'a refusal has no Retry-After',
    )

    const flooded = await beside(`flood over MQTT of ${size.floodS} s`, () =>
      mqttFlood(server, recorder, devices.slice(4), size.floodS),
    )
    progress(`${flooded.acknowledged} of ${flooded.published} messages published over MQTT acknowledged`)
    expectThat(flooded.cutOff === 0, `${flooded.cutOff} publishers were cut off instead of slowed down`)
    expectThat(flooded.acknowledged > 0, 'no message of the MQTT flood was acknowledged')

    const sockets = await beside(`${size.idle} idle connections, 200 slow ones`, async () => {
      const opened = await costly(server, devices[4] as Device, size.idle)
      await sleep(2000)
      return opened
    })
    for (const socket of sockets) socket.destroy()

    const fleet: Device[] = []
    for (let n = 0; n < size.storm; n += 50)
      fleet.push(
        ...(await Promise.all(Array.from({ length: 50 }, (_, at) => server.register(`storm-${n + at}`)))),
      )
    const { seconds, connected } = await beside(`${size.storm} devices that connect at once`, () =>
      storm(server, fleet),
    )
    progress(`${connected} of ${size.storm} devices connected within ${seconds.toFixed(1)} s`)
    expectThat(connected === size.storm, `${connected} of ${size.storm} devices came back`)
    await load.stop(20_000)
    return [await judge('flood and idle connections', server, devices, recorder, { failures })]
  } finally {
    await server.stop()
    await recorder.close()
  }
}
