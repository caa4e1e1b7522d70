/** The libSQL server of the registry is killed or hangs during writes: answered writes are stored, and no request waits for ever. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/backends.ts'
import { findSqld, type Sqld, startSqld } from '../support/sqld.ts'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { eventually } from '../support/waiting.ts'

describeWith({ sqld: findSqld() !== undefined }, 'IoTFlow on a libSQL server', () => {
  let sqld: Sqld
  let server: StandaloneServer
  beforeAll(async () => {
    sqld = await startSqld()
    server = await startStandaloneServer({
      settings: {
        DATABASE_URL: sqld.url,
        LOG_LEVEL: 'silent',
        RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
        RATE_LIMIT_REGISTER_PER_5_MINUTES: '0',
      },
    })
  })
  afterAll(async () => {
    await server?.stop()
    await sqld?.stop()
  })

  const answers = async (names: () => string, ms: number) => {
    const made: { name: string; key: string }[] = []
    const others: { status: number; retryAfter: string | null }[] = []
    const until = performance.now() + ms
    await Promise.all(
      Array.from({ length: 10 }, async () => {
        while (performance.now() < until) {
          const name = names()
          const { status, body, headers } = await server.request('POST', '/api/v1/devices/register', {
            body: { name, device_type: 'sensor' },
          })
          if (status === 201) made.push({ name, key: body.device.api_key })
          else others.push({ status, retryAfter: headers.get('retry-after') })
          if (status !== 201) await sleep(20)
        }
      }),
    )
    return { made, others }
  }

  it.each(['killed', 'hanging'])(
    'survives a libSQL server that is %s, and works again afterwards',
    async (how) => {
      let count = 0
      const trouble = async () => {
        await sleep(700)
        if (how === 'killed') await sqld.kill()
        else sqld.hang()
        await sleep(700)
        if (how === 'killed') await sqld.start()
        else sqld.goOn()
      }
      const [{ made, others }] = await Promise.all([answers(() => `${how}-${count++}`, 4000), trouble()])
      expect(made.length).toBeGreaterThan(10)
      if (how === 'killed') expect(others.length).toBeGreaterThan(0)
      for (const { status, retryAfter } of others) {
        // 409 means: the first try was written and its answer was lost.
        expect([503, 409]).toContain(status)
        if (status === 503) expect(Number(retryAfter)).toBeGreaterThan(0)
      }
      // A server that hung first works on its old requests.
      const { key } = await eventually(() => server.register(`${how}-after-${count++}`))
      await eventually(async () => {
        const sent = await server.request('POST', '/api/v1/devices/telemetry', { key, body: { t: 1 } })
        expect(sent.status).toBe(201)
      })
      for (const { name, key: own } of made)
        await eventually(async () => {
          const { status, body } = await server.request('GET', '/api/v1/devices/status', { key: own })
          expect([status, body.device?.name]).toEqual([200, name])
        })
    },
  )

  it('answers 503 within its time-out while the libSQL server hangs', async () => {
    const { key } = await eventually(() => server.register('waits'))
    sqld.hang()
    try {
      const { status, headers } = await server.request('POST', '/api/v1/devices/register', {
        body: { name: 'never', device_type: 'sensor' },
      })
      expect(status).toBe(503)
      expect(headers.get('retry-after')).not.toBeNull()
    } finally {
      sqld.goOn()
    }
    await eventually(async () => {
      expect((await server.request('GET', '/api/v1/devices/status', { key })).status).toBe(200)
    })
    // Writes work again, too; the server needs them to stop.
    await eventually(() => server.register(`well-${performance.now()}`))
  })
})
