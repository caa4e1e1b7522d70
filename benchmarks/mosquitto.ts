/** A Mosquitto with the configuration of the project, and a publisher that is faster than every subscriber. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import mqttPacket, { type Packet } from 'mqtt-packet'
import { writeMosquittoFiles } from '../local/mqtt/mosquitto/files.ts'
import { freePort } from './free-port.ts'
import { BenchError } from './measure.ts'

const binary = ['mosquitto', '/usr/sbin/mosquitto'].find((name) => !spawnSync(name, ['-h']).error)

const plugin = (existsSync('/usr/lib') ? readdirSync('/usr/lib') : [])
  .map((folder) => `/usr/lib/${folder}/mosquitto_dynamic_security.so`)
  .find((file) => existsSync(file))

export const hasMosquitto = binary !== undefined && plugin !== undefined

/** An account that may publish and subscribe to every topic: the server's own. */
const account = { username: 'iotflow', password: 'password-of-the-benchmark' } as const

export interface Mosquitto {
  /** Where {@link account} may connect. */
  readonly port: number
  readonly url: string
  readonly username: string
  readonly password: string
  readonly pid: number
  /** Resolves when a client of this id connects from now on: with the time, by `performance.now()`. */
  nextConnection(clientId: string): Promise<number>
  /** Ends the connection of a client and keeps its session: messages then wait for it, until it connects again. */
  disconnect(clientId: string): Promise<void>
  end(): Promise<void>
}

const tryToConnect = (port: number): Promise<Socket | undefined> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket))
    socket.once('error', () => resolve(undefined))
  })

const openSocket = async (port: number): Promise<Socket> => {
  for (let tries = 0; tries < 200; tries += 1) {
    const socket = await tryToConnect(port)
    if (socket) return socket.setNoDelay(true)
    await sleep(25)
  }
  throw new BenchError('mosquitto did not start')
}

/** Calls back for every client that connects. */
const watchConnections = (log: NodeJS.ReadableStream): Mosquitto['nextConnection'] => {
  const waiting = new Map<string, (at: number) => void>()
  createInterface({ input: log }).on('line', (line) => {
    const [, clientId = ''] = / as (\S+) \(p/.exec(line) ?? []
    waiting.get(clientId)?.(performance.now())
    waiting.delete(clientId)
  })
  return (clientId) => new Promise((resolve) => waiting.set(clientId, resolve))
}

const connectPacket = (clientId: string, clean: boolean): Buffer =>
  mqttPacket.generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean,
    clientId,
    keepalive: 0,
    username: account.username,
    password: Buffer.from(account.password),
  })

/** Takes over the session of the client, and leaves it. */
const takeOver = async (port: number, clientId: string): Promise<void> => {
  const socket = await openSocket(port)
  const closed = once(socket, 'close')
  socket.write(connectPacket(clientId, false))
  await once(socket, 'data')
  socket.end(mqttPacket.generate({ cmd: 'disconnect' }))
  await closed
}

/** @param folder for its configuration and its data. @throws {BenchError} */
export async function startMosquitto(folder: string): Promise<Mosquitto> {
  if (binary === undefined || plugin === undefined)
    throw new BenchError('mosquitto is not installed: apt-get install mosquitto')
  const [port, websocketPort, internalPort] = [await freePort(), await freePort(), await freePort()]
  const file = await writeMosquittoFiles({
    folder: join(folder, `mosquitto-${internalPort}`),
    plugin,
    ...account,
    address: '127.0.0.1',
    port,
    websocketPort,
    internalPort,
    saving: 'fast',
  })
  const text = await readFile(file, 'utf8')
  await writeFile(file, text.replace('connection_messages false', 'connection_messages true'))
  const child = spawn(binary, ['-c', file], { stdio: ['ignore', 'ignore', 'pipe'] })
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  const socket = await openSocket(internalPort)
  socket.destroy()
  return {
    ...account,
    port: internalPort,
    url: `mqtt://127.0.0.1:${internalPort}`,
    pid: child.pid ?? 0,
    nextConnection: watchConnections(child.stderr),
    disconnect: (clientId) => takeOver(internalPort, clientId),
    async end() {
      process.off('exit', kill)
      if (child.exitCode !== null) return
      child.kill()
      await once(child, 'exit')
    },
  }
}

export interface Message {
  readonly topic: string
  readonly payload: string
}

/** Publishes of one connection that wait for their PUBACK. */
const window = 1000

/** One connection that publishes with QoS 1. */
export class Publisher {
  readonly #socket: Socket
  readonly #parser = mqttPacket.parser({ protocolVersion: 4 })
  #acknowledged = 0
  #connected = () => {}
  #windowDone = () => {}
  #failed: (error: Error) => void = () => {}
  #wanted = 0

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#parser.on('packet', (packet: Packet) => this.#receive(packet))
    socket.on('data', (chunk) => this.#parser.parse(chunk))
    socket.once('close', () =>
      this.#failed(new BenchError('Mosquitto closed the connection of the publisher')),
    )
  }

  static async open(port: number): Promise<Publisher> {
    const publisher = new Publisher(await openSocket(port))
    const connected = new Promise<void>((resolve) => {
      publisher.#connected = resolve
    })
    publisher.#socket.write(connectPacket('bench-publisher', true))
    await connected
    return publisher
  }

  /** Resolves when the broker has acknowledged every message. */
  async publish(messages: readonly Message[]): Promise<void> {
    for (let from = 0; from < messages.length; from += window) {
      const part = messages.slice(from, from + window)
      const acknowledged = new Promise<void>((resolve, reject) => {
        this.#windowDone = resolve
        this.#failed = reject
      })
      this.#acknowledged = 0
      this.#wanted = part.length
      this.#socket.write(Buffer.concat(part.map(publishPacket)))
      await acknowledged
    }
  }

  close(): void {
    this.#failed = () => {}
    this.#socket.destroy()
  }

  #receive({ cmd }: Packet): void {
    if (cmd === 'connack') this.#connected()
    if (cmd !== 'puback') return
    this.#acknowledged += 1
    if (this.#acknowledged === this.#wanted) this.#windowDone()
  }
}

const publishPacket = ({ topic, payload }: Message, at: number): Buffer =>
  mqttPacket.generate({
    cmd: 'publish',
    topic,
    payload,
    qos: 1,
    messageId: at + 1,
    dup: false,
    retain: false,
  })
