/** Functions whose database is down, as they are deployed: what they log and throw holds no SQL, no parameter and no key. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { loadConfig } from '../../lib/config.ts'
import { digestKey } from '../../lib/devices/credentials.ts'
import { createLog } from '../../lib/log.ts'
import { prepareDatabases } from '../../local/databases.ts'
import { loadFunctions } from '../../local/functions.ts'
import { traceText } from '../../scripts/trace.ts'
import { builtCloud } from '../support/cloud-bundles.ts'
import { describeWithSqld, type Sqld, startSqld } from '../support/sqld.ts'

const bundles = new URL('../../dist/cloud/', import.meta.url)
const key = 'k3yOfADeviceWhichNobodyMaySee7'
const password = Buffer.from(key).toString('base64')
const reading = 'a-reading-that-is-private'
const base64 = (content: object) => Buffer.from(JSON.stringify(content)).toString('base64')

const message = (topic: string, content: object) => ({
  payload: base64(content),
  topic: `iotflow/devices/7/${topic}`,
  client_id: 'device-7',
  received_at: Date.now(),
  message_id: 'm1',
})
const connected = {
  clientId: 'device-7',
  timestamp: Date.now(),
  eventType: 'connected',
  sessionIdentifier: 's',
  principalIdentifier: '7',
  versionNumber: 1,
}
const subscribed = { ...connected, eventType: 'subscribed', topics: ['iotflow/devices/7/commands'] }

const telemetry = message('telemetry', { temperature: 21, note: reading })
const events: Readonly<Record<string, unknown>> = {
  'mqtt-authorize': {
    protocolData: { mqtt: { username: '7', password, clientId: 'device-7' } },
    connectionMetadata: { id: 'c' },
  },
  'mqtt-presence': {
    ...message('status', {}),
    topic: '$aws/events/presence/connected/device-7',
    payload: base64(connected),
  },
  'mqtt-report-configuration': message('config/reported', { version: 3 }),
  'mqtt-publish-configurations': {},
  'system-retention': {},
  'telemetry-sweep': {},
  'commands-record-answer': message('commands/response', {
    command_id: 'c1',
    status: 'succeeded',
    result: reading,
  }),
  'commands-deliver': {
    ...message('status', {}),
    topic: '$aws/events/subscriptions/subscribed/device-7',
    payload: base64(subscribed),
  },
  'commands-sweep': {},
  'alerts-sweep': {},
  'webhooks-sweep': {},
  'webhooks-deliver': { Records: [] },
  'commands-fleet-advance': {},
  'devices-sweep': {},
  'telemetry-ingest': telemetry,
}

interface Outcome {
  readonly name: string
  readonly answer?: unknown
  readonly errorType?: string
  readonly message?: string
  readonly printed?: string
}

const call = async (of: Readonly<Record<string, unknown>>, DATABASE_URL: string) => {
  const program = fileURLToPath(new URL('../support/failing-functions.mjs', import.meta.url))
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    [program, JSON.stringify({ bundles: bundles.href, events: of })],
    {
      env: { STAGE: 'prod', DATABASE_URL, AWS_REGION: 'eu-central-1', LOG_LEVEL: 'debug' },
      maxBuffer: 50_000_000,
    },
  )
  const parsed = (text: string) =>
    text
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
  return { outcomes: parsed(stdout) as Outcome[], lines: parsed(stderr), text: stdout + stderr }
}

describeWithSqld('a function that is called with events, while its database is down,', () => {
  let sqld: Sqld
  let called: Awaited<ReturnType<typeof call>>
  beforeAll(async () => {
    await builtCloud()
    sqld = await startSqld()
    await prepareDatabases(loadConfig({ DATABASE_URL: sqld.url }), createLog('silent'))
    await sqld.kill()
    called = await call(events, sqld.url)
  }, 300_000)
  afterAll(() => sqld?.stop())

  it('is each one that has no HTTP route', async () => {
    const table = await loadFunctions()
    const http = new Set([...table.routes.map(({ functionName }) => functionName), table.fallback])
    expect(Object.keys(events).sort()).toEqual(table.names.filter((name) => !http.has(name)).sort())
  })

  it('fails with a code and nothing else', () => {
    const failed = called.outcomes.filter(({ answer }) => answer === undefined)
    expect(failed.map(({ name }) => name)).toContain('mqtt-authorize')
    expect(failed.length).toBeGreaterThan(6)
    for (const { name, errorType, message: said, printed } of failed) {
      expect(errorType, name).toBe('AppError')
      expect(said, name).toMatch(/^The function failed: [A-Z_]+; the log says where\.$/)
      expect(printed, name).not.toContain('[cause]')
    }
  })

  it('tells no SQL, no parameter, no key and no reading, neither in its log nor in its error', () => {
    expect(called.text).not.toMatch(/\b(?:select|insert into|update|delete from)\b\s+["\w*]/i)
    for (const secret of [key, password, digestKey(key), reading, base64({ note: reading })])
      expect(called.text).not.toContain(secret)
    expect(called.text).not.toContain(telemetry.payload)
  })

  it('logs the request id of AWS, and a place that leads to the sources', async () => {
    const failed = called.outcomes.filter(({ answer }) => answer === undefined)
    for (const { name } of failed) {
      const line = called.lines.find(({ aws_request_id: id }) => id === `request-of-${name}`)
      expect(line, name).toMatchObject({ level: 'error', function: `iotflow-test-${name}` })
      const at = JSON.stringify(line.error)
      expect(at, name).toContain(`${name}.mjs:`)
      expect(await traceText(at, fileURLToPath(bundles)), name).toMatch(
        /(?:lib|functions)\/[\w/-]+\.ts:\d+:\d+/,
      )
    }
  })

  it('hands back every record of a batch, and says why', async () => {
    const record = (id: string) => ({
      messageId: id,
      body: JSON.stringify({ ...telemetry, message_id: id }),
      attributes: { SentTimestamp: String(Date.now()) },
    })
    const batch = { Records: [record('one'), record('two')] }
    const { outcomes, lines, text } = await call({ 'telemetry-ingest': batch }, sqld.url)
    expect(outcomes[0]?.answer).toEqual({
      batchItemFailures: [{ itemIdentifier: 'one' }, { itemIdentifier: 'two' }],
    })
    expect(lines).toContainEqual(
      expect.objectContaining({
        failed: 2,
        of: 2,
        error: expect.objectContaining({ at: expect.anything() }),
      }),
    )
    expect(text).not.toMatch(/\bselect\b\s+["\w*]/i)
  })
})
