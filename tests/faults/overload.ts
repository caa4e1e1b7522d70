/** More than the machine can take, and clients that only cost: what is accepted is there, and the others are served. */
import { Agent, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectAsync } from 'mqtt'
import { type Device, type Machine, startMachine } from '../support/machine.ts'
import { freely } from './kills.ts'
import { startLoad } from './load.ts'
import { type Book, type Recorder, startRecorder } from './recorder.ts'
import type { Size } from './scenarios.ts'
import { judge, type Verdict } from './verdict.ts'

const mb = (bytes: number) => Math.round(bytes / 1e6)
const at = (sorted: readonly number[], share: number) =>
  Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0)

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

/** Posts batch after batch over many connections at once, past the recorder: it writes down itself what becomes of them. */
async function flood(
  machine: Machine,
  { sent, acknowledged }: Pick<Recorder, 'sent' | 'acknowledged'>,
  devices: readonly Device[],
  seconds: number,
): Promise<Answered[]> {
  const connections = 400
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const answers: Answered[] = []
  const until = performance.now() + seconds * 1000
  const note = (book: Book, { id }: Device, batch: ReturnType<typeof batchOf>) => {
    const readings = book.get(id) ?? new Map<string, Record<string, number>>()
    book.set(id, readings)
    for (const { timestamp, data } of batch) readings.set(timestamp, data)
  }
  const post = (device: Device) =>
    new Promise<void>((resolve) => {
      const batch = batchOf(100)
      note(sent, device, batch)
      const began = performance.now()
      const outgoing = request(
        `${machine.httpUrl}/api/v1/devices/telemetry`,
        { method: 'POST', agent, headers: { 'Content-Type': 'application/json', 'X-API-Key': device.key } },
        (response) => {
          response.resume()
          response.on('end', () => {
            const status = response.statusCode ?? 0
            if (status < 300) note(acknowledged, device, batch)
            const retryAfter = response.headers['retry-after']
            answers.push({ status, ms: performance.now() - began, retryAfter })
            resolve()
          })
        },
      )
      outgoing.on('error', () => resolve())
      outgoing.end(JSON.stringify(batch))
    })
  await Promise.all(
    Array.from({ length: connections }, async (_, n) => {
      const device = devices[n % devices.length] as Device
      while (performance.now() < until) await post(device)
    }),
  )
  agent.destroy()
  return answers
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

/** Connections that never ask for anything, bodies and heads that never end. */
async function costly(machine: Machine, idle: number): Promise<Socket[]> {
  const port = Number(new URL(machine.httpUrl).port)
  const slowBody =
    'POST /api/v1/devices/telemetry HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{'
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

/** Every device comes back at the same moment. */
async function storm(
  machine: Machine,
  devices: readonly Device[],
): Promise<{ seconds: number; connected: number }> {
  const began = performance.now()
  const clients = await Promise.allSettled(
    devices.map(({ id, key }) =>
      connectAsync(machine.mqttUrl, {
        protocolVersion: 4,
        clientId: `${id}`,
        username: `${id}`,
        password: key,
        reconnectPeriod: 500,
        connectTimeout: 30_000,
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
  const machine = await startMachine({ settings: { ...freely, LOG_LEVEL: 'silent' } })
  try {
    recorder.pointTo(machine)
    const devices = await Promise.all(Array.from({ length: 20 }, (_, n) => machine.register(`over-${n}`)))
    const others = devices.slice(0, 4)
    const load = await startLoad({ recorder, http: others.slice(0, 2), mqtt: others.slice(2), rate: 20 })
    await sleep(1000)
    const before = machine.rss()

    const answers = await flood(machine, recorder, devices.slice(4), size.floodS)
    const taken = answers.filter(({ status }) => status < 300)
    const refused = answers.filter(({ status }) => status === 503 || status === 429)
    const times = (list: readonly Answered[]) => list.map(({ ms }) => ms).sort((one, other) => one - other)
    progress(
      `flood of ${size.floodS} s: ${taken.length} batches of 100 taken (p99 ${at(times(taken), 0.99)} ms), ` +
        `${refused.length} refused (p99 ${at(times(refused), 0.99)} ms), resident memory +${mb(machine.rss() - before)} MB`,
    )
    if (answers.length !== taken.length + refused.length) throw new Error('something was answered otherwise')
    if (refused.some(({ retryAfter }) => retryAfter === undefined))
      throw new Error('a refusal does not say when to come again')

    load.latencies()
    const sockets = await costly(machine, size.idle)
    await sleep(2000)
    const meanwhile = load.latencies()
    progress(
      `${size.idle} idle connections, 200 slow ones: the others have p50 ${at(meanwhile, 0.5)} ms, p99 ${at(meanwhile, 0.99)} ms`,
    )
    for (const socket of sockets) socket.destroy()

    const fleet: Device[] = []
    for (let n = 0; n < size.storm; n += 50)
      fleet.push(
        ...(await Promise.all(Array.from({ length: 50 }, (_, at) => machine.register(`storm-${n + at}`)))),
      )
    load.latencies()
    const { seconds, connected } = await storm(machine, fleet)
    const during = load.latencies()
    progress(
      `${connected} of ${size.storm} devices connected at once within ${seconds.toFixed(1)} s: ` +
        `the others have p50 ${at(during, 0.5)} ms, p99 ${at(during, 0.99)} ms`,
    )
    if (connected !== size.storm) throw new Error('not every device came back')
    await load.stop(20_000)
    return [await judge('more than it can take', machine, devices, recorder)]
  } finally {
    await machine.stop()
    await recorder.close()
  }
}
