import type { SQSEvent, SQSRecord } from 'aws-lambda'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { ingestQueue } from '../../../functions/telemetry/ingest.ts'
import * as runtime from '../../../lib/runtime.ts'
import { MessageRate } from '../../../lib/telemetry/message-rate.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { type RuleEvent, ruleEvent } from '../../support/rule-events.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(noon)
  functions = await openFunctions()
})
afterAll(async () => {
  await functions.close()
  vi.useRealTimers()
})

const ingest = (event: unknown) => functions.invoke('telemetry-ingest', event)

/** One record of the queue. @param body a string is sent unchanged, anything else as JSON. */
const record = (messageId: string, body: unknown) => ({
  messageId,
  receiptHandle: messageId,
  body: typeof body === 'string' ? body : JSON.stringify(body),
  attributes: { SentTimestamp: String(noon - 1000), ApproximateReceiveCount: '1' },
})

const lettersOf = async (query: string) =>
  (await functions.call('admin-dead-letters', 'GET', `/api/v1/admin/dead-letters${query}`, { admin: true }))
    .json.dead_letters

describe('a message that the rule hands over', () => {
  it('is stored under the device of its topic, at the time of arrival', async () => {
    const { id } = await functions.register()
    const other = await functions.register()
    await ingest(ruleEvent(id, 'telemetry', { t: 21.5, device_id: other.id }, noon - 5000))
    const [reading, ...rest] = await functions.historyOf(id)
    expect([reading.t, rest]).toEqual([21.5, []])
    expect(reading.timestamp).toMatch(/^2026-03-01T11:59:55/)
    expect(await functions.historyOf(other.id)).toEqual([])
    expect(await functions.accountOf(id)).toMatchObject({ received: 1, stored: 1, rejected: 0 })
  })

  it('keeps the rest of its topic as metadata', async () => {
    const { id } = await functions.register()
    await ingest(ruleEvent(id, 'telemetry/sensors/lab', { t: 1 }))
    expect((await functions.historyOf(id))[0].metadata).toEqual({ subtopic: 'sensors/lab' })
  })

  it('counts as a sign of life of the device', async () => {
    const { id } = await functions.register()
    await ingest(ruleEvent(id, 'telemetry', { t: 1 }))
    const { json } = await functions.call('admin-show', 'GET', `/api/v1/admin/devices/${id}`, { admin: true })
    expect(json.device).toMatchObject({ is_online: true, last_seen: '2026-03-01T12:00:00Z' })
  })

  it('makes one reading although Lambda delivers it twice', async () => {
    const { id } = await functions.register()
    const event = ruleEvent(id, 'telemetry', { t: 1 })
    await ingest(event)
    await ingest(event)
    expect(await functions.historyOf(id)).toHaveLength(1)
  })

  it('makes two readings of two messages that arrive in the same millisecond', async () => {
    const { id } = await functions.register()
    await ingest(ruleEvent(id, 'telemetry', { t: 1 }, noon - 1))
    await ingest(ruleEvent(id, 'telemetry', { t: 2 }, noon - 1))
    expect(await functions.historyOf(id)).toHaveLength(2)
  })

  it('becomes a dead letter when it is no JSON', async () => {
    const { id } = await functions.register()
    await ingest(ruleEvent(id, 'telemetry/lab', '{"t":', noon - 1000))
    expect(await lettersOf(`?device_id=${id}`)).toMatchObject([
      {
        device_id: id,
        topic: `iotflow/devices/${id}/telemetry/lab`,
        reason: expect.stringMatching(/JSON/),
        received_at: '2026-03-01T11:59:59Z',
        rejected: 1,
        payload: '{"t":',
      },
    ])
    expect(await functions.accountOf(id)).toMatchObject({ received: 1, stored: 0, rejected: 1 })
  })

  it('becomes a dead letter when its device is inactive', async () => {
    const { id } = await functions.register()
    await functions.setStatus(id, 'inactive')
    await ingest(ruleEvent(id, 'telemetry', { t: 1 }))
    expect(await lettersOf(`?device_id=${id}`)).toMatchObject([{ reason: 'The device is inactive.' }])
    expect(await functions.historyOf(id)).toEqual([])
  })

  it('becomes a dead letter when there is no such device', async () => {
    await ingest(ruleEvent(777_777, 'telemetry', { t: 1 }))
    expect(await lettersOf('?device_id=777777')).toMatchObject([
      { device_id: 777_777, reason: 'There is no such device.' },
    ])
  })

  it('becomes a dead letter without a device when its topic is not one of telemetry', async () => {
    await ingest({ ...ruleEvent(1, 'telemetry', { t: 1 }), topic: 'iotflow/elsewhere' })
    expect(await lettersOf('?limit=1')).toMatchObject([
      { device_id: null, topic: 'iotflow/elsewhere', reason: 'The topic is not one of telemetry.' },
    ])
  })

  it('is stored without the readings that were refused; these become one dead letter', async () => {
    const { id } = await functions.register()
    await ingest(ruleEvent(id, 'telemetry', [{ data: { t: 1 } }, { data: {} }, { data: { t: 3 } }]))
    expect((await functions.historyOf(id)).map(({ t }: { t: number }) => t)).toEqual([1, 3])
    expect(await lettersOf(`?device_id=${id}`)).toMatchObject([
      { rejected: 1, reason: expect.stringContaining('1 of 3 readings') },
    ])
    expect(await functions.accountOf(id)).toMatchObject({ received: 3, stored: 2, rejected: 1 })
  })
})

describe('a warning about a message', () => {
  const eventsOf = async (id: number) => {
    const path = `/api/v1/admin/devices/${id}/events`
    const { events } = (await functions.call('admin-events', 'GET', path, { admin: true })).json
    return events.filter(({ event }: { event: string }) => event === 'warning')
  }

  it('is an event of the device, one for each code and day', async () => {
    const { id } = await functions.register()
    for (const t of [1, 2, 3]) await ingest(ruleEvent(id, 'telemetry', { t, message_id: 5 }))
    expect(await eventsOf(id)).toMatchObject([
      { event: 'warning', count: 2, detail: { code: 'MESSAGE_ID_REUSED', paths: ['message_id'] } },
    ])
    await ingest(ruleEvent(id, 'telemetry', { t: 4, message_id: 5 }, noon + 86_400_000))
    expect((await eventsOf(id)).map(({ count }: { count: number }) => count)).toEqual([1, 2])
    expect(await functions.accountOf(id)).toMatchObject({ received: 4, stored: 4, warned: 3 })
  })

  it('is noted for every message that the parser changed, with where', async () => {
    const { id } = await functions.register()
    await ingest(ruleEvent(id, 'telemetry', { ts: '36', values: { t: 21.5 } }))
    await ingest(
      ruleEvent(id, 'telemetry', [
        { t: 1, time: 5 },
        { t: 2, ts: 6 },
      ]),
    )
    await ingest({
      ...ruleEvent(id, 'telemetry', {}),
      payload: Buffer.from('{"unit":"\xb0C","t":21}\0\0\0', 'latin1').toString('base64'),
    })
    expect(await eventsOf(id)).toMatchObject([
      { event: 'warning', count: 1, detail: { code: 'INVALID_UTF8' } },
      { event: 'warning', count: 3, detail: { code: 'CLOCK_WRONG', paths: ['ts', 'time'] } },
    ])
    expect(await lettersOf(`?device_id=${id}`)).toEqual([])
    expect(await functions.accountOf(id)).toMatchObject({ received: 4, stored: 4, warned: 4 })
  })

  it('does not come because the same message is delivered again, also after another one with its id', async () => {
    const { id } = await functions.register()
    const [first, second] = [1, 2].map((t) =>
      ruleEvent(id, 'telemetry', { t, message_id: 'boot' }, noon - 10),
    )
    for (const event of [first, second, first, second]) await ingest(event)
    await ingest({ Records: [record('again', first)] })
    expect(await eventsOf(id)).toMatchObject([{ event: 'warning', count: 1 }])
    expect(await functions.historyOf(id)).toHaveLength(2)
  })
})

describe('a batch of the queue', () => {
  /** The failed hand-over of a rule, as AWS IoT puts it into the queue. */
  const ruleFailure = ({ payload, topic }: RuleEvent) => ({
    ruleName: 'telemetry_ingest',
    topic,
    clientId: 'device',
    base64OriginalPayload: payload,
    failures: [{ failedAction: 'LambdaAction', failedResource: 'function', errorMessage: 'throttled' }],
  })

  it('takes events of the rule, failures of Lambda and failures of the rule', async () => {
    const { id } = await functions.register()
    const event = (t: number) => ruleEvent(id, 'telemetry', { t }, noon - 10_000 + t)
    const answer = await ingest({
      Records: [
        record('q1', event(1)),
        record('q2', { version: '1.0', requestPayload: event(2), responsePayload: {} }),
        record('q3', ruleFailure(event(3))),
      ],
    })
    expect(answer).toEqual({ batchItemFailures: [] })
    const history = await functions.historyOf(id)
    expect(history.map(({ t }: { t: number }) => t)).toEqual([1, 2, 3])
    // A rule's failure has no time of arrival: the time at which it was put into the queue counts.
    expect(history[2].timestamp).toMatch(/^2026-03-01T11:59:59/)
  })

  it('stores a record once although the queue delivers it twice', async () => {
    const { id } = await functions.register()
    const failed = record('twice', ruleFailure(ruleEvent(id, 'telemetry', { t: 1 })))
    await ingest({ Records: [failed] })
    await ingest({ Records: [failed] })
    expect(await functions.historyOf(id)).toHaveLength(1)
  })

  it.each([
    ['no JSON', 'hello'],
    ['JSON of somebody else', '{"hello":"world"}'],
    ['the JSON value null', 'null'],
    ['a list', '[]'],
  ])('keeps a record with %s as a dead letter instead of receiving it for ever', async (_what, body) => {
    const before = (await lettersOf('?limit=1'))[0]?.id ?? 0
    expect(await ingest({ Records: [record('foreign', body)] })).toEqual({ batchItemFailures: [] })
    const [letter] = await lettersOf('?limit=1')
    expect(letter.id).toBeGreaterThan(before)
    expect(letter).toMatchObject({
      device_id: null,
      topic: '',
      reason: 'Nothing of this system put the message into the queue.',
      received_at: '2026-03-01T11:59:59Z',
      payload: body,
    })
  })
})

describe('a device that sends more messages than its limit', () => {
  /** The function of a container with a limit of 100 messages a minute. */
  const container = async () =>
    ingestQueue({
      log: runtime.log(),
      devices: await runtime.devices(),
      intake: await runtime.intake(),
      deadLetters: await runtime.deadLetters(),
      topics: runtime.topics(),
      rate: new MessageRate(100),
    })

  const warningsOf = async (id: number) => {
    // The handler of a deployed function does it before it answers.
    await (await runtime.devices()).flush()
    const { json } = await functions.call('admin-events', 'GET', `/api/v1/admin/devices/${id}/events`, {
      admin: true,
    })
    return json.events.filter(({ event }: { event: string }) => event === 'warning')
  }
  const batchOf = (id: number, messages: number, receives = '1'): SQSEvent => ({
    Records: Array.from({ length: messages }, (_, n) => {
      const one = record(`${id}-${n}`, {
        ...ruleEvent(id, 'telemetry', { t: n }, noon + n),
        message_id: `m${id}-${n}`,
      })
      return { ...one, attributes: { ...one.attributes, ApproximateReceiveCount: receives } } as SQSRecord
    }),
  })

  it('loses none, and has an event with the count of those above it', async () => {
    const { id } = await functions.register()
    const ingestBatch = await container()
    expect(await ingestBatch(batchOf(id, 105))).toEqual({ batchItemFailures: [] })
    expect(await functions.accountOf(id)).toMatchObject({ received: 105, stored: 105 })
    expect(await warningsOf(id)).toMatchObject([{ count: 5, detail: { code: 'RATE_LIMIT_EXCEEDED' } }])
  })

  it('is not counted again when its messages come again', async () => {
    const { id } = await functions.register()
    const ingestBatch = await container()
    await ingestBatch(batchOf(id, 90))
    await ingestBatch(batchOf(id, 90, '2'))
    expect(await warningsOf(id)).toEqual([])
  })
})
