/** An answer means durable: strace shows which system calls the server makes between a message and its answer. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/backends.ts'
import { type Device, type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** True: strace is installed and may trace processes. */
const usable = spawnSync('strace', ['-qq', '-e', 'trace=none', 'true'], { stdio: 'ignore' }).status === 0

interface Call {
  readonly name: string
  /** The file or socket of the file descriptor. */
  readonly on: string
  /** The first 64 bytes that were read or written, one character each. */
  readonly data: string
  readonly result: string
  /** The lines of the trace where the call began and ended. */
  readonly from: number
  readonly to: number
}

const escapes: Record<string, string> = { n: '\n', r: '\r', t: '\t', v: '\v', f: '\f' }
const unescaped = (text: string) =>
  text.replace(/\\([0-7]{1,3}|.)/gs, (_all, code: string) =>
    /^[0-7]/.test(code) ? String.fromCharCode(Number.parseInt(code, 8)) : (escapes[code] ?? code),
  )

/** The calls of all threads, in the order of their begin. Both halves of an interrupted call are joined. */
const callsOf = (trace: string): Call[] => {
  const calls: Call[] = []
  const open = new Map<string, { text: string; from: number }>()
  for (const [at, line] of trace.split('\n').entries()) {
    const [, thread = '', rest = ''] = /^(\d+) +[\d.]+ (.*)$/s.exec(line) ?? []
    if (rest.endsWith(' <unfinished ...>')) {
      open.set(thread, { text: rest.slice(0, -' <unfinished ...>'.length), from: at })
      continue
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/s.exec(rest)
    const begun = resumed ? open.get(thread) : undefined
    const text = resumed ? `${begun?.text ?? ''}${resumed[1]}` : rest
    const [, name, on, args = '', result] = /^(\w+)\(\d+<([^>]*)>(.*)\) += (\S+)/s.exec(text) ?? []
    if (name === undefined || on === undefined || result === undefined) continue
    const data = [...args.matchAll(/"((?:[^"\\]|\\.)*)"/gs)].map(([, part = '']) => unescaped(part)).join('')
    calls.push({ name, on, data, result, from: begun?.from ?? at, to: at })
  }
  return calls.sort((one, other) => one.from - other.from)
}

const reads = new Set(['read', 'readv', 'recvfrom', 'recvmsg'])
const syncs = new Set(['fsync', 'fdatasync'])
const sends = new Set(['write', 'writev', 'sendto', 'sendmsg'])

/** The begin of a message, the begin of its answer, and the file that must hold the message before the answer. */
interface Exchange {
  readonly arrives: string
  readonly answer: string
  readonly file: string
}

/** The system calls for each such message, from its arrival to its answer. */
const sequencesOf = (calls: Call[], { arrives, answer, file }: Exchange): string[][] =>
  calls
    .filter(({ name, on, data }) => reads.has(name) && on.startsWith('socket:') && data.includes(arrives))
    .map((arrival) => {
      const answered = calls.find(
        ({ name, on, data, from }) =>
          from > arrival.to && sends.has(name) && on === arrival.on && data.startsWith(answer),
      )
      // A flush counts if it ended before the answer began; a write counts if it began after the message arrived.
      const between = calls.filter(
        ({ on, from, to }) => on.endsWith(file) && from > arrival.to && to < (answered?.from ?? 0),
      )
      const steps = between.flatMap(({ name, result }) => {
        if (name === 'pwrite64') return ['written']
        return syncs.has(name) && result === '0' ? ['flushed'] : []
      })
      return [...steps.filter((one, index) => one !== steps[index - 1]), answered ? 'answered' : 'no answer']
    })

describeWith({ strace: usable }, 'an acknowledged message is on the disk', () => {
  let calls: Call[] = []
  const rounds = 3

  beforeAll(async () => {
    const folder = await temporaryFolder()
    const file = join(folder.path, 'trace')
    const names = [...reads, 'pwrite64', ...syncs, ...sends].join()
    const prefix = ['strace', '-f', '-y', '-ttt', '-s', '64', '-e', `trace=${names}`, '-o', file]
    let server: StandaloneServer | undefined
    try {
      server = await startStandaloneServer({ prefix })
      const devices: Device[] = []
      for (let round = 0; round < rounds; round++) devices.push(await server.register())
      const [device] = devices as [Device]
      const client = await server.mqtt(device)
      const topic = `iotflow/devices/${device.id}/telemetry`
      for (let round = 0; round < rounds; round++) {
        const posted = { key: device.key, body: { round } }
        expect((await server.request('POST', '/api/v1/devices/telemetry', posted)).status).toBe(201)
        await client.publishAsync(topic, '{"good":1}', { qos: 1 })
        await client.publishAsync(topic, '{"broken"', { qos: 1 })
      }
      await client.endAsync()
    } finally {
      await server?.stop()
      calls = callsOf(readFileSync(file, 'latin1'))
      await folder.remove()
    }
  })

  it.each<[string, Exchange]>([
    [
      'a reading over HTTP, before its 201',
      {
        arrives: 'POST /api/v1/devices/telemetry ',
        answer: 'HTTP/1.1 201',
        file: '/telemetry.db-wal',
      },
    ],
    [
      'a reading over MQTT, before its PUBACK',
      { arrives: '{"good":1}', answer: '\x40\x02', file: '/telemetry.db-wal' },
    ],
    [
      'a message with broken JSON, before its PUBACK',
      { arrives: '{"broken"', answer: '\x40\x02', file: '/registry.db-wal' },
    ],
    [
      'a device, before its key is shown',
      {
        arrives: 'POST /api/v1/devices/register ',
        answer: 'HTTP/1.1 201',
        file: '/registry.db-wal',
      },
    ],
  ])('%s', (_what, exchange) => {
    const sequences = sequencesOf(calls, exchange).map((steps) => steps.join(', '))
    expect(sequences).toHaveLength(rounds)
    // The server also writes last-seen times now and then.
    for (const sequence of sequences) expect(sequence).toMatch(/^(written, flushed, )+answered$/)
  })
})
