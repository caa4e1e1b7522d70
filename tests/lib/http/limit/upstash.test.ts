import { readFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Redis } from '@upstash/redis'
import { build } from 'esbuild'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Limiter, RateLimit } from '../../../../lib/http/limit/limiter.ts'
import { createMemoryLimiter } from '../../../../lib/http/limit/memory.ts'
import { createUpstashLimiter } from '../../../../lib/http/limit/upstash.ts'
import { createLog } from '../../../../lib/log.ts'
import { loadFunctionTable } from '../../../../local/function-table.ts'
import { cloudOptions } from '../../../../scripts/build.ts'
import { limiterContract, newRule } from '../../../support/limiter-contract.ts'
import { describeWithRedis, type RedisServer, startRedis } from '../../../support/redis.ts'
import { temporaryFolder } from '../../../support/temporary.ts'
import { startUpstashRest, type UpstashRest } from '../../../support/upstash-rest.ts'

const subject = '2001:db8::77'

/** A limiter with a log and a steady clock that the test reads and moves. */
const observed = (at: { url: string; token: string }, timeoutMs = 20_000) => {
  const lines: string[] = []
  const log = createLog('debug', (text) => void lines.push(...text.trimEnd().split('\n')))
  const clock = { now: 5000 }
  const limiter = createUpstashLimiter({
    prefix: 'test',
    url: at.url,
    token: at.token,
    fallback: createMemoryLimiter(),
    log,
    now: () => clock.now,
    timeoutMs,
  })
  const logged = () => {
    log.flush()
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  }
  return { limiter, clock, logged, text: () => logged() && lines.join('\n') }
}

/** Takes so often one after the other; what was left each time, -1 for a refusal, the code of an error. */
const takeTimes = async (limiter: Limiter, times: number, rule: RateLimit) => {
  const answers: unknown[] = []
  for (let i = 0; i < times; i++) {
    answers.push(
      await Promise.resolve(limiter.take(rule, subject)).then(
        ({ allowed, remaining }) => (allowed ? remaining : -1),
        (error) => error.code ?? error,
      ),
    )
  }
  return answers
}

/** The first window of a hundred years, which does not end while a test counts in it. */
const longRule = (limit: number, onFailure: RateLimit['onFailure']) =>
  newRule(limit, { windowMs: 100 * 365 * 86_400_000, onFailure })

/** A limiter of its own, on a Redis of its own, for the contract. */
const fixture = async (create: typeof createUpstashLimiter, keyLocking: boolean) => {
  const redis = await startRedis()
  const rest = await startUpstashRest({ socket: redis.socket, keyLocking })
  return {
    limiter: create({ prefix: 'test', ...rest, fallback: createMemoryLimiter(), timeoutMs: 20_000 }),
    async end() {
      await rest.end()
      await redis.end()
    },
  }
}

for (const keyLocking of [true, false]) {
  const name = keyLocking ? 'Upstash' : 'stock Redis behind the same API'
  describeWithRedis(`upstash limiter on ${name}`, () => {
    limiterContract(name, 15, () => fixture(createUpstashLimiter, keyLocking))
  })
}

describeWithRedis('upstash limiter in the bundles of the cloud, which hold one script only', () => {
  limiterContract('bundled', 15, async () => {
    const folder = await temporaryFolder()
    await build({
      ...cloudOptions(await loadFunctionTable(), 'undefined'),
      entryPoints: ['lib/http/limit/upstash.ts'],
      outdir: folder.path,
      sourcemap: false,
    })
    const outfile = join(folder.path, 'upstash.mjs')
    expect((await readFile(outfile, 'utf8')).match(/#!lua/g)).toHaveLength(1)
    const bundled = (await import(pathToFileURL(outfile).href)) as {
      createUpstashLimiter: typeof createUpstashLimiter
    }
    const { limiter, end } = await fixture(bundled.createUpstashLimiter, true)
    return {
      limiter,
      async end() {
        await end()
        await folder.remove()
      },
    }
  })
})

describeWithRedis('upstash limiter', () => {
  let redis: RedisServer
  let rest: UpstashRest

  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.end())
  beforeEach(async () => {
    rest = await startUpstashRest({ socket: redis.socket, keyLocking: true })
  })
  afterEach(() => rest.end())

  it('shares one count between instances', async () => {
    const rule = longRule(3, 'closed')
    const [one, two] = [observed(rest).limiter, observed(rest).limiter]
    const answers = [
      ...(await takeTimes(one, 2, rule)),
      ...(await takeTimes(two, 2, rule)),
      ...(await takeTimes(one, 1, rule)),
    ]
    expect(answers).toEqual([2, 1, 0, -1, -1])
  })

  it('sends one request each time once the server knows the script, whole and unchanged to Upstash', async () => {
    const { limiter } = observed(rest)
    await takeTimes(limiter, 4, longRule(9, 'closed'))
    expect(rest.commands.map(([name]) => name)).toEqual(['evalsha', 'eval', 'evalsha', 'evalsha', 'evalsha'])
    expect(rest.commands[1]?.[1]).toMatch(/^#!lua flags=allow-key-locking\n/)
  })

  it('sends one request each time to a server that refuses the flag, too', async () => {
    const stock = await startUpstashRest({ socket: redis.socket, keyLocking: false })
    const { limiter, logged } = observed(stock)
    expect(await takeTimes(limiter, 4, longRule(9, 'closed'))).toEqual([8, 7, 6, 5])
    expect(stock.commands.map(([name]) => name)).toEqual(['evalsha', 'eval', 'eval', 'eval', 'eval', 'eval'])
    expect(logged()).toEqual([])
    await stock.end()
  })

  it('keeps its keys under the name of the rule, each with an end', async () => {
    const rule = newRule(2, { windowMs: 3_600_000 })
    const { limiter } = observed(rest)
    await takeTimes(limiter, 3, rule)
    const client = new Redis({ ...rest, enableAutoPipelining: false })
    const keys = await client.keys(`test:limit:${rule.name}:*`)
    expect(keys).toEqual([expect.stringMatching(new RegExp(`^test:limit:${rule.name}:${subject}:\\d+$`))])
    const ttl = await client.pttl(String(keys[0]))
    expect(ttl).toBeGreaterThan(rule.windowMs)
    expect(ttl).toBeLessThanOrEqual(2 * rule.windowMs + 1000)
  })

  it('lets in again by the real clock who waited', async () => {
    const rule = newRule(2, { windowMs: 1500 })
    const { limiter } = observed(rest)
    let outcome = await limiter.take(rule, subject)
    for (let i = 0; outcome.allowed && i < 1000; i++) outcome = await limiter.take(rule, subject)
    expect(outcome.allowed).toBe(false)
    await new Promise((resolve) => setTimeout(resolve, outcome.resetAt - Date.now() + 5))
    expect((await limiter.take(rule, subject)).allowed).toBe(true)
  })

  it('goes on without Redis: open rules count in memory, closed ones refuse; and asks again when it is back', async () => {
    const { limiter, clock, logged, text } = observed(rest)
    const open = longRule(3, 'open')
    const closed = longRule(3, 'closed')
    expect(await takeTimes(limiter, 1, open)).toEqual([2])
    expect(await takeTimes(limiter, 1, closed)).toEqual([2])

    await redis.kill()
    expect(await takeTimes(limiter, 4, open)).toEqual([2, 1, 0, -1])
    await expect(limiter.take(closed, subject)).rejects.toMatchObject({
      name: 'AppError',
      code: 'UNAVAILABLE',
      message: 'Requests cannot be counted at the moment, so this one is refused: try again in 2 s.',
      retryAfterS: 2,
    })
    const asked = rest.commands.length
    clock.now += 1999
    expect(await takeTimes(limiter, 2, closed)).toEqual(['UNAVAILABLE', 'UNAVAILABLE'])
    expect(rest.commands.length).toBe(asked)
    clock.now += 1
    expect(await takeTimes(limiter, 1, open)).toEqual([-1])
    expect(rest.commands.length).toBe(asked + 1)

    await redis.start()
    clock.now += 2000
    // Redis lost its memory, so the count begins again: in Redis.
    expect(await takeTimes(limiter, 1, closed)).toEqual([2])
    expect(await takeTimes(limiter, 1, open)).toEqual([2])
    expect(await takeTimes(observed(rest).limiter, 1, open)).toEqual([1])

    expect(logged()).toEqual([
      expect.objectContaining({ level: 'warn', reply: 'ERR', counted_in_memory: 1, refused: 0 }),
    ])
    expect(text()).not.toContain(subject)
  })

  it('warns once in 30 s, with what happened since', async () => {
    const { limiter, clock, logged } = observed({ url: rest.url, token: 'wrong' })
    const open = longRule(9, 'open')
    await takeTimes(limiter, 5, open)
    await takeTimes(limiter, 2, longRule(9, 'closed'))
    clock.now += 29_999
    await takeTimes(limiter, 1, open)
    expect(logged()).toHaveLength(1)
    clock.now += 1
    await takeTimes(limiter, 2, open)
    expect(logged()).toEqual([
      expect.objectContaining({ counted_in_memory: 1, refused: 0 }),
      expect.objectContaining({ counted_in_memory: 6, refused: 2 }),
    ])
  })

  it('takes a wrong token for a failure, and logs nothing that is secret', async () => {
    const { limiter, logged, text } = observed({ url: rest.url, token: 'not-the-token' })
    expect(await takeTimes(limiter, 2, longRule(5, 'open'))).toEqual([4, 3])
    expect(await takeTimes(limiter, 1, longRule(5, 'closed'))).toEqual(['UNAVAILABLE'])
    expect(rest.commands).toHaveLength(1)
    expect(logged()).toEqual([
      expect.objectContaining({ level: 'warn', reply: 'WRONGPASS', error: expect.anything() }),
    ])
    for (const secret of ['not-the-token', rest.url, '127.0.0.1', subject, 'lua']) {
      expect(text()).not.toContain(secret)
    }
  })

  it('lets one ask after a pause, and does not keep the others waiting', async () => {
    const { limiter, clock } = observed(rest)
    const open = longRule(100, 'open')
    await redis.kill()
    await takeTimes(limiter, 1, open)
    const asked = rest.commands.length
    clock.now += 2000
    await Promise.all(Array.from({ length: 20 }, () => limiter.take(open, subject)))
    expect(rest.commands.length).toBe(asked + 1)
    await redis.start()
  })
})

describe('upstash limiter without a server that answers', () => {
  const servers: { end(): Promise<void> }[] = []
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.end()
  })

  const startTcp = async (onConnection: (socket: Socket) => void) => {
    const sockets: Socket[] = []
    const server = createServer((socket) => {
      sockets.push(socket)
      socket.on('error', () => {})
      onConnection(socket)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const end = async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    }
    servers.push({ end })
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : undefined
    return { url: `http://127.0.0.1:${port}`, token: 'a-token', connections: sockets, end }
  }

  // Without a time-out of its own the client would wait 300 s, longer than a test may take.
  it('ends the wait for a server that accepts and never answers', async () => {
    const silent = await startTcp(() => {})
    const { limiter, logged } = observed(silent, 150)
    expect(await takeTimes(limiter, 1, longRule(5, 'open'))).toEqual([4])
    expect(await takeTimes(limiter, 1, longRule(5, 'closed'))).toEqual(['UNAVAILABLE'])
    expect(silent.connections).toHaveLength(1)
    expect(logged()).toEqual([
      expect.objectContaining({ error: expect.objectContaining({ name: 'TimeoutError' }) }),
    ])
  })

  it('ends the wait for an answer that stops in the middle', async () => {
    const stalling = await startTcp((socket) =>
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"result":[')),
    )
    const { limiter } = observed(stalling, 150)
    expect(await takeTimes(limiter, 2, longRule(5, 'closed'))).toEqual(['UNAVAILABLE', 'UNAVAILABLE'])
  })

  it('tries once where the connection is refused or broken off', async () => {
    const breaking = await startTcp((socket) => socket.once('data', () => socket.destroy()))
    const { limiter } = observed(breaking)
    expect(await takeTimes(limiter, 2, longRule(5, 'open'))).toEqual([4, 3])
    expect(breaking.connections).toHaveLength(1)

    await breaking.end()
    const { limiter: another, logged } = observed(breaking)
    expect(await takeTimes(another, 2, longRule(5, 'closed'))).toEqual(['UNAVAILABLE', 'UNAVAILABLE'])
    expect(logged()).toEqual([
      expect.objectContaining({
        error: expect.objectContaining({ cause: { name: 'Error', code: 'ECONNREFUSED' } }),
      }),
    ])
  })

  it.each([
    ['a page', 200, '<html></html>'],
    ['another shape', 200, '{}'],
    ['no result', 200, '{"result":null}'],
    ['an error page', 502, 'Bad Gateway'],
  ])('takes %s for a failure', async (_, status, body) => {
    const other = await startTcp((socket) =>
      socket.once('data', () =>
        socket.end(
          `HTTP/1.1 ${status} x\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
        ),
      ),
    )
    const { limiter } = observed(other)
    expect(await takeTimes(limiter, 1, longRule(5, 'open'))).toEqual([4])
    expect(await takeTimes(limiter, 1, longRule(5, 'closed'))).toEqual(['UNAVAILABLE'])
  })
})
