/** What a cold start costs the database: requests of the first call of a container, against those of a later one. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { loadConfig } from '../../lib/config.ts'
import { createLog } from '../../lib/log.ts'
import { prepareDatabases } from '../../local/databases.ts'
import { builtCloud } from '../support/cloud-bundles.ts'
import { startCountingProxy } from '../support/counting-proxy.ts'
import { type Lambda, region, startLambda } from '../support/lambda.ts'
import { describeWithSqld, type Sqld, startSqld } from '../support/sqld.ts'

/**
 * Longer than the time between two writes of a last-seen time, 5 s: the later call writes one, too, and work that a function
 * begins and does not wait for shows by then.
 */
const pauseMs = 6000

interface Caller {
  readonly id: number
  readonly key: string
}

const httpEvent = (method: string, path: string, { key }: Caller, body?: object, id?: number) => ({
  version: '2.0',
  routeKey: `${method} ${path}`,
  rawPath: path,
  rawQueryString: '',
  headers: { 'x-api-key': key, 'content-type': 'application/json' },
  ...(id === undefined ? {} : { pathParameters: { id: String(id) } }),
  ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  isBase64Encoded: false,
  requestContext: {
    domainName: 'api.example',
    http: { method, path, protocol: 'HTTP/1.1', sourceIp: '203.0.113.7', userAgent: '' },
    stage: '$default',
  },
})

const recordOf = ({ id }: Caller, n: number) => ({
  messageId: `m${id}-${n}`,
  attributes: { SentTimestamp: String(Date.now()) },
  body: JSON.stringify({
    payload: Buffer.from(JSON.stringify({ temperature: n })).toString('base64'),
    topic: `iotflow/devices/${id}/telemetry`,
    client_id: String(id),
    received_at: Date.now(),
    message_id: `m${id}-${n}`,
  }),
})

let calls = 0

/** An event for each hot function. */
const events: Record<string, (caller: Caller, others: readonly Caller[]) => object> = {
  'telemetry-submit': (caller) =>
    httpEvent('POST', '/api/v1/devices/telemetry', caller, { temperature: ++calls }),
  'telemetry-ingest': (_caller, others) => ({ Records: others.map((one) => recordOf(one, ++calls)) }),
  'telemetry-latest': (caller) =>
    httpEvent('GET', `/api/v1/telemetry/${caller.id}/latest`, caller, undefined, caller.id),
  'devices-heartbeat': (caller) => httpEvent('POST', '/api/v1/devices/heartbeat', caller, {}),
  'mqtt-authorize': ({ id, key }) => ({
    protocolData: {
      mqtt: { username: String(id), password: Buffer.from(key).toString('base64'), clientId: String(id) },
    },
  }),
}

describeWithSqld('the first call of a container', () => {
  const endings: (() => Promise<unknown>)[] = []
  let sqld: Sqld
  let fleet: Caller[]
  const environment = (url: string) => ({
    STAGE: 'dev',
    DATABASE_URL: url,
    ADMIN_TOKEN: 'a-token-of-the-tests-only',
    OPEN_REGISTRATION: 'true',
    AWS_REGION: region,
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    SPOOL_QUEUE_URL: 'http://127.0.0.1:9/queue',
    LOG_LEVEL: 'warn',
    RATE_LIMIT_PER_MINUTE: '0',
    RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
    RATE_LIMIT_REGISTER_PER_5_MINUTES: '0',
    RATE_LIMIT_IP_PER_MINUTE: '0',
  })
  const containersAt = (url: string): Lambda => {
    const lambda = startLambda(new URL('../../dist/cloud/', import.meta.url), environment(url))
    endings.push(() => lambda.close())
    return lambda
  }

  beforeAll(async () => {
    await builtCloud()
    sqld = await startSqld()
    endings.push(() => sqld.stop())
    await prepareDatabases(loadConfig({ DATABASE_URL: sqld.url }), createLog('silent'))
    const lambda = containersAt(sqld.url)
    fleet = []
    for (let n = 0; n < 100; n += 1) {
      const path = '/api/v1/devices/register'
      const body = { name: `device ${n}`, device_type: 'sensor' }
      const answer = (await lambda.invoke(
        'devices-register',
        httpEvent('POST', path, { id: 0, key: '' }, body),
      )) as { body: string }
      const { device } = JSON.parse(answer.body) as { device: { id: number; api_key: string } }
      fleet.push({ id: device.id, key: device.api_key })
    }
    // The fields of the devices are known afterwards.
    await lambda.invoke('telemetry-ingest', events['telemetry-ingest']?.(fleet[0] as Caller, fleet))
  }, 300_000)
  afterAll(async () => {
    for (const end of endings.reverse()) await end()
  })

  it('makes at most one request more than a later call, and none after its answer', async () => {
    const measured = Object.entries(events).map(async ([name, eventFor], at) => {
      const proxy = await startCountingProxy(sqld.url)
      endings.push(() => proxy.close())
      const lambda = containersAt(proxy.url)
      const caller = fleet[at] as Caller
      /** The batch has devices of its own: the other functions must not write their times. */
      const others = fleet.slice(10)
      const requests = async () => {
        const before = proxy.count
        const answer = (await lambda.invoke(name, eventFor(caller, others))) as Record<string, unknown>
        const atAnswer = proxy.count - before
        await sleep(pauseMs)
        return { answer, atAnswer, later: proxy.count - before - atAnswer }
      }
      const first = await requests()
      const second = await requests()
      for (const { answer } of [first, second]) {
        expect(answer.statusCode ?? 200, `${name}: ${JSON.stringify(answer)}`).toBeLessThan(300)
        expect(answer.batchItemFailures ?? [], name).toEqual([])
        expect(answer.isAuthenticated ?? true, name).toBe(true)
      }
      return { name, first, second }
    })
    await sleep(pauseMs)
    const results = await Promise.all(measured)
    const row = (...cells: unknown[]) =>
      cells.map((cell, at) => (at === 0 ? String(cell).padEnd(20) : String(cell).padStart(12))).join('')
    process.stdout.write(
      `\n${row('requests', 'first call', 'later call', 'not awaited')}\n${results
        .map(({ name, first, second }) =>
          row(name, first.atAnswer, second.atAnswer, first.later + second.later),
        )
        .join('\n')}\n`,
    )
    for (const { name, first, second } of results) {
      expect(second.atAnswer, name).toBeGreaterThan(0)
      expect(first.atAnswer, name).toBeLessThanOrEqual(second.atAnswer + 1)
      expect([first.later, second.later], name).toEqual([0, 0])
    }
  }, 120_000)
})
