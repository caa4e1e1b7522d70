import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import type { Limiter, RateLimit } from '../../../../lib/http/limit/limiter.ts'
import { createMemoryLimiter } from '../../../../lib/http/limit/memory.ts'
import { createRedisLimiter } from '../../../../lib/http/limit/redis.ts'
import { createLog } from '../../../../lib/log.ts'
import { limiterContract, newRule } from '../../../support/limiter-contract.ts'
import { describeWithRedis, type RedisServer, startRedis } from '../../../support/redis.ts'

describeWithRedis('redis limiter, as every limiter', () => {
  limiterContract('Redis', 15, async () => {
    const redis = await startRedis()
    const limiter = createRedisLimiter({
      url: redis.url,
      prefix: 'test',
      fallback: createMemoryLimiter(),
      timeoutMs: 20_000,
    })
    return {
      limiter,
      async end() {
        await limiter.close()
        await redis.end()
      },
    }
  })
})

describeWithRedis('redis limiter', () => {
  let redis: RedisServer
  const endings: (() => Promise<void>)[] = []
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.end())
  afterEach(async () => {
    for (const end of endings.splice(0)) await end()
  })

  const open = (url = redis.url, timeoutMs = 3000) => {
    const lines: string[] = []
    const log = createLog('debug', (text) => void lines.push(text))
    const clock = { now: 5000 }
    const limiter = createRedisLimiter({
      url,
      prefix: 'test',
      fallback: createMemoryLimiter(),
      log,
      timeoutMs,
      now: () => clock.now,
    })
    endings.push(() => limiter.close())
    const logged = () => {
      log.flush()
      return lines.join('')
    }
    return { limiter, clock, logged }
  }
  /** The first window of a hundred years, which does not end while a test counts in it. */
  const longRule = (limit: number, onFailure: RateLimit['onFailure']) =>
    newRule(limit, { windowMs: 100 * 365 * 86_400_000, onFailure })
  /** What was left each time, -1 for a refusal, the code of an error. */
  const takeTimes = async (limiter: Limiter, times: number, rule: RateLimit) => {
    const answers: unknown[] = []
    for (let i = 0; i < times; i++)
      answers.push(
        await Promise.resolve(limiter.take(rule, '2001:db8::77')).then(
          ({ allowed, remaining }) => (allowed ? remaining : -1),
          (error) => error.code ?? error,
        ),
      )
    return answers
  }

  it('shares one count between instances', async () => {
    const rule = longRule(3, 'closed')
    const [one, two] = [open().limiter, open().limiter]
    const answers = [
      ...(await takeTimes(one, 2, rule)),
      ...(await takeTimes(two, 2, rule)),
      ...(await takeTimes(one, 1, rule)),
    ]
    expect(answers).toEqual([2, 1, 0, -1, -1])
  })

  it.each(['killed', 'hanging'])(
    'goes on while Redis is %s: open rules count in memory, closed ones refuse; and asks again later',
    async (how) => {
      const { limiter, clock, logged } = open()
      const [free, strict] = [longRule(3, 'open'), longRule(3, 'closed')]
      expect(await takeTimes(limiter, 1, free)).toEqual([2])
      expect(await takeTimes(limiter, 1, strict)).toEqual([2])

      if (how === 'killed') await redis.kill()
      else redis.hang()
      expect(await takeTimes(limiter, 4, free)).toEqual([2, 1, 0, -1])
      expect(await takeTimes(limiter, 2, strict)).toEqual(['UNAVAILABLE', 'UNAVAILABLE'])

      if (how === 'killed') await redis.start()
      else redis.goOn()
      let answers: unknown[] = []
      for (let tries = 0; tries < 1000 && answers[0] === undefined; tries++) {
        await new Promise((resolve) => setTimeout(resolve, 50))
        clock.now += 2000
        const [answer] = await takeTimes(limiter, 1, strict)
        if (answer !== 'UNAVAILABLE') answers = [answer]
      }
      // A killed one lost its memory; a hanging one may have counted what it answered too late.
      expect(answers[0]).toBe(how === 'killed' ? 2 : 1)
      expect(logged()).toContain('"Redis cannot be asked'.slice(1))
      for (const secret of ['2001:db8', '127.0.0.1', redis.url]) expect(logged()).not.toContain(secret)
    },
  )

  it('does not wait for a server that is not there, and says so to who checks', async () => {
    const { limiter } = open('redis://127.0.0.1:1', 300)
    expect(await takeTimes(limiter, 2, longRule(5, 'open'))).toEqual([4, 3])
    expect(await takeTimes(limiter, 1, longRule(5, 'closed'))).toEqual(['UNAVAILABLE'])
    await expect(limiter.check()).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  it('takes a wrong password for a failure, and logs nothing that is secret', async () => {
    const guarded = await startRedis('the-password')
    endings.push(() => guarded.end())
    const { limiter, logged } = open(guarded.url.replace('the-password', 'not-that-one'), 300)
    expect(await takeTimes(limiter, 2, longRule(5, 'open'))).toEqual([4, 3])
    await expect(limiter.check()).rejects.toThrow()
    expect(await takeTimes(open(guarded.url).limiter, 2, longRule(5, 'closed'))).toEqual([4, 3])
    expect(logged()).not.toMatch(/not-that-one|the-password/)
  })
})
