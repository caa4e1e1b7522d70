/** HTTP load on raw sockets: requests are prepared bytes, and answers are parsed only as far as needed. */
import { connect, type Socket } from 'node:net'
import type { Run } from './measure.ts'

export interface HttpLoad {
  readonly port: number
  /** Keep-alive connections, each with one request at a time. */
  readonly connections: number
  readonly seconds: number
  /** Gives the bytes of the next request. */
  next(): Buffer
  /** Any other status is an error. */
  readonly expected: number
}

/** Builds the bytes of a POST request. */
export function httpRequest(path: string, headers: Readonly<Record<string, string>>, body: string): Buffer {
  const lines = Object.entries({ Host: '127.0.0.1', ...headers, 'Content-Length': Buffer.byteLength(body) })
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`,
  )
}

/** Milliseconds that answers may take after the end of the run. */
const drainMs = 10_000

/** @returns undefined while the answer is incomplete. */
const parseAnswer = (bytes: Buffer): { status: number; body: string } | undefined => {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const head = bytes.toString('latin1', 0, end)
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
  if (length === undefined) return { status: 0, body: 'an answer without Content-Length' }
  if (bytes.length < end + 4 + Number(length)) return undefined
  const status = Number(head.slice(9, 12))
  return { status, body: status < 300 ? '' : bytes.toString('utf8', end + 4) }
}

/** Opens connections, runs the load, and closes them. */
export async function runHttpLoad(load: HttpLoad): Promise<Run> {
  const { port, connections, seconds, next, expected } = load
  const latencies: number[] = []
  const errors = new Map<string, number>()
  const countError = (what: string) => errors.set(what, (errors.get(what) ?? 0) + 1)
  let completed = 0
  let deadline = 0
  const sockets: Socket[] = []

  /** Opens one connection. The returned function starts its load and resolves after the last answer. */
  const open = async () => {
    let rest: Buffer | undefined
    let sentAt = 0
    let over = () => {}
    const send = () => {
      sentAt = performance.now()
      socket.write(next())
    }
    const onBytes = (bytes: Buffer) => {
      const all = rest === undefined ? bytes : Buffer.concat([rest, bytes])
      const answer = parseAnswer(all)
      if (answer === undefined) {
        rest = Buffer.from(all)
        return
      }
      rest = undefined
      const now = performance.now()
      if (answer.status === expected) {
        latencies.push(now - sentAt)
        if (now < deadline) completed += 1
      } else countError(`HTTP ${answer.status} ${answer.body.slice(0, 200)}`)
      if (now < deadline) send()
      else over()
    }
    const buffer = Buffer.allocUnsafe(16_384)
    const socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      // `onread` reads without a stream, which halves the CPU of the load generator.
      onread: {
        buffer,
        callback: (length) => {
          onBytes(buffer.subarray(0, length))
          return true
        },
      },
    })
    sockets.push(socket)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    socket.on('error', () => undefined)
    return () =>
      new Promise<void>((resolve) => {
        over = resolve
        socket.once('close', () => {
          countError('connection lost')
          resolve()
        })
        send()
      })
  }

  try {
    const starts: (() => Promise<void>)[] = []
    for (let at = 0; at < connections; at++) starts.push(await open())
    const cpu = process.cpuUsage()
    deadline = performance.now() + seconds * 1000
    const done = Promise.all(starts.map((start) => start()))
    const late = new Promise<'late'>((resolve) => {
      setTimeout(() => resolve('late'), seconds * 1000 + drainMs).unref()
    })
    if ((await Promise.race([done, late])) === 'late') countError(`no answer within ${drainMs / 1000} s`)
    const { user, system } = process.cpuUsage(cpu)
    return {
      completed,
      acknowledged: latencies.length,
      seconds,
      latencies,
      errors: new Map(errors),
      loadCpu: user + system,
    }
  } finally {
    for (const socket of sockets) socket.destroy()
  }
}
