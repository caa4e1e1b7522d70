import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as runtime from '../../../lib/runtime.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const path = '/api/v1/admin/dead-letters'
const admin = { admin: true } as const
let sent = 0

/** Sends a message to the ingest function, as the rule does. */
const publish = (deviceId: number, payload: string | object, receivedAt = Date.now()) => {
  sent += 1
  return functions.invoke('telemetry-ingest', {
    payload: Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload)).toString('base64'),
    topic: `iotflow/devices/${deviceId}/telemetry/lab`,
    client_id: String(deviceId),
    received_at: receivedAt,
    message_id: `m-${sent}`,
  })
}
const lettersOf = async (id: number) =>
  (await functions.call('admin-dead-letters', 'GET', `${path}?device_id=${id}`, admin)).json.dead_letters
const replay = (id: number) =>
  functions.call('admin-replay-dead-letter', 'POST', `${path}/${id}/replay`, admin)
const account = async (id: number) => {
  const { json } = await functions.call('admin-show', 'GET', `/api/v1/admin/devices/${id}`, admin)
  const { exact, ...counts } = json.accounting
  expect(exact).toBe(true)
  const { received, stored, spooled, rejected, duplicates } = counts
  expect(received).toBe(stored + spooled + rejected + duplicates)
  return { received, stored, rejected, duplicates }
}
const history = async (id: number) =>
  (await functions.call('telemetry-history', 'GET', `/api/v1/telemetry/${id}?order=asc`, admin)).json.data

describe('a message that is no reading', () => {
  it('is listed with its reason and shown with its payload, without API keys', async () => {
    const { id, key } = await functions.register()
    await publish(id, `{"api_key":"${key}","t":`)
    const [letter] = await lettersOf(id)
    expect(letter).toMatchObject({
      device_id: id,
      topic: `iotflow/devices/${id}/telemetry/lab`,
      payload: '{"api_key":"","t":',
      rejected: 1,
    })
    expect(letter.reason).toMatch(/JSON/)
    const { json } = await functions.call('admin-show-dead-letter', 'GET', `${path}/${letter.id}`, admin)
    expect(Buffer.from(json.dead_letter.payload_base64, 'base64').toString()).toBe('{"api_key":"","t":')
    expect(await account(id)).toEqual({ received: 1, stored: 0, rejected: 1, duplicates: 0 })
    expect((await replay(letter.id)).status).toBe(400)
  })

  it.each([
    ['{"data":{"gw.api_key":"S3CRET"},"x":[]}', '{"data":{"gw.api_key":""},"x":[]}'],
    [
      '{"api\\u005fkey" : "S3CRET", "meta_a":12345678901234567890}',
      '{"api\\u005fkey" : "", "meta_a":12345678901234567890}',
    ],
    ['{"api_key":{"a":"x","b":["S3CRET"]},"a":[]}', '{"api_key":"","a":[]}'],
    [
      '{"meta_note":"\\"api_key\\":1","api_key":["k","S3CRET"],"a":[]}',
      '{"meta_note":"\\"api_key\\":1","api_key":"","a":[]}',
    ],
    ['{"API_KEY":"S3CRET","a":[]}', '{"API_KEY":"","a":[]}'],
    ['{"data":{"api_key":null,"a":[]}}', '{"data":{"api_key":null,"a":[]}}'],
    ["{'api_key': 'S3CRET', 'a': 1}", `{'api_key': "", 'a': 1}`],
    ['{"api_key":{"a":"x","b":"S3CRET"', '{"api_key":""'],
    ['gw.api_key=S3CRET, a=1', 'gw.api_key="", a=1'],
  ])('is kept without its API keys: %s', async (payload, kept) => {
    const { id } = await functions.register()
    // Most of these could be stored.
    await functions.call('admin-set-status', 'PUT', `/api/v1/admin/devices/${id}/status`, {
      ...admin,
      body: { status: 'inactive' },
    })
    await publish(id, payload)
    const [letter] = await lettersOf(id)
    expect(letter.payload).toBe(kept)
  })

  it('replaces the oldest dead letter of its own device above 1000 dead letters or 1 MB', {
    timeout: 120_000,
  }, async () => {
    const [quiet, loud, large] = [
      await functions.register(),
      await functions.register(),
      await functions.register(),
    ]
    await publish(quiet.id, 'quiet')
    for (let n = 0; n < 1005; n += 1) await publish(loud.id, `loud ${n}`)
    for (let n = 0; n < 12; n += 1) await publish(large.id, `${n} `.padEnd(100_000, 'x'))
    const totalOf = async (id: number) =>
      (await functions.call('admin-dead-letters', 'GET', `${path}?device_id=${id}&limit=1`, admin)).json
    expect((await totalOf(loud.id)).total).toBe(1000)
    expect((await totalOf(loud.id)).dead_letters[0].payload).toBe('loud 1004')
    expect((await totalOf(large.id)).total).toBe(10)
    expect((await totalOf(quiet.id)).total).toBe(1)
  })

  it('is replayed once when several replays are requested at the same time', async () => {
    const { id } = await functions.register()
    await publish(id, { data: { a: [1] } })
    await publish(id, { batch: [{ a: 1 }, { a: 2 }], timestamp: 'x' })
    // The message was refused because its device was inactive; by now it can be stored.
    const set = (status: string) =>
      functions.call('admin-set-status', 'PUT', `/api/v1/admin/devices/${id}/status`, {
        ...admin,
        body: { status },
      })
    await set('inactive')
    await publish(id, [{ b: 1 }, { b: 2 }])
    await set('active')
    const [letter] = await lettersOf(id)
    const before = await account(id)
    await Promise.all([1, 2, 3].map(() => replay(letter.id)))
    expect(await account(id)).toEqual({
      ...before,
      received: before.received + 1,
      rejected: before.rejected - 1,
      stored: before.stored + 2,
    })
  })

  it('counts as a duplicate when its device has sent the same message again', async () => {
    const { id, key } = await functions.register()
    const set = (status: string) =>
      functions.call('admin-set-status', 'PUT', `/api/v1/admin/devices/${id}/status`, {
        ...admin,
        body: { status },
      })
    const message = { data: { c: 1 }, message_id: 'once' }
    await set('inactive')
    await publish(id, message)
    await set('active')
    const again = await functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', {
      key,
      body: message,
    })
    expect(again.json).toMatchObject({ accepted: 1, duplicates: 0 })
    const [letter] = await lettersOf(id)
    expect((await replay(letter.id)).json).toMatchObject({ accepted: 1, duplicates: 1 })
    expect(await history(id)).toHaveLength(1)
    expect(await account(id)).toEqual({ received: 2, stored: 1, rejected: 0, duplicates: 1 })
  })

  it('stays counted as rejected after the admin discards it', async () => {
    const { id } = await functions.register()
    await publish(id, 'x')
    const [letter] = await lettersOf(id)
    const discard = () => functions.call('admin-discard-dead-letter', 'DELETE', `${path}/${letter.id}`, admin)
    expect((await discard()).status).toBe(200)
    expect((await discard()).status).toBe(404)
    expect(await lettersOf(id)).toEqual([])
    expect(await account(id)).toMatchObject({ received: 1, rejected: 1 })
  })

  it('is listed in pages, newest first', async () => {
    const { id } = await functions.register()
    for (const text of ['a', 'b', 'c']) await publish(id, text)
    const first = await functions.call('admin-dead-letters', 'GET', `${path}?device_id=${id}&limit=2`, admin)
    expect(first.json.total).toBe(3)
    const { json } = await functions.call(
      'admin-dead-letters',
      'GET',
      `${path}?device_id=${id}&limit=2&cursor=${first.json.next_cursor}`,
      admin,
    )
    const payloads = [...first.json.dead_letters, ...json.dead_letters].map(({ payload }) => payload)
    expect(payloads).toEqual(['c', 'b', 'a'])
    expect(json.next_cursor).toBeUndefined()
  })
})

describe('a replay', () => {
  const inactive = (id: number, status: string) =>
    functions.call('admin-set-status', 'PUT', `/api/v1/admin/devices/${id}/status`, {
      ...admin,
      body: { status },
    })

  it('takes device, time of arrival and subtopic from the dead letter, and moves the count', async () => {
    const { id } = await functions.register()
    const other = await functions.register()
    await inactive(id, 'inactive')
    const receivedAt = Date.now() - 60_000
    await publish(id, { t: 1, device_id: other.id }, receivedAt)
    const [letter] = await lettersOf(id)
    expect(letter.reason).toBe('The device is inactive.')
    expect((await replay(letter.id)).status).toBe(409)
    expect(await account(id)).toMatchObject({ received: 1, rejected: 1 })
    await inactive(id, 'active')
    expect((await replay(letter.id)).json).toMatchObject({ accepted: 1, duplicates: 0, rejected: [] })
    expect(await account(id)).toEqual({ received: 1, stored: 1, rejected: 0, duplicates: 0 })
    const [reading] = await history(id)
    expect(reading).toMatchObject({ t: 1, metadata: { subtopic: 'lab' } })
    expect(Math.floor(Date.parse(reading.timestamp))).toBe(receivedAt)
    expect(await history(other.id)).toEqual([])
  })

  it('changes nothing the second time, also when two arrive at once', async () => {
    const { id } = await functions.register()
    await inactive(id, 'inactive')
    await publish(id, [{ t: 1 }, { t: 2 }])
    await inactive(id, 'active')
    const [letter] = await lettersOf(id)
    const answers = await Promise.all([replay(letter.id), replay(letter.id)])
    expect(answers.map(({ status }) => status).filter((status) => status !== 404)).toContain(200)
    expect((await replay(letter.id)).status).toBe(404)
    expect(await history(id)).toHaveLength(2)
    const { stored, rejected } = await account(id)
    expect([stored, rejected]).toEqual([2, 0])
  })

  it('of a batch stores only the readings that were refused before', async () => {
    const { id } = await functions.register()
    await publish(id, [{ t: 1 }, { t: [] }, { t: 3 }, { t: {} }])
    expect(await account(id)).toEqual({ received: 4, stored: 2, rejected: 2, duplicates: 0 })
    const [letter] = await lettersOf(id)
    expect(letter.rejected).toBe(2)
    const answer = await replay(letter.id)
    expect(answer.status).toBe(422)
    expect(await account(id)).toEqual({ received: 4, stored: 2, rejected: 2, duplicates: 0 })
    expect(await lettersOf(id)).toHaveLength(1)
  })

  it('of a batch keeps the readings that are too old; a replay leaves them refused', async () => {
    const { id } = await functions.register()
    const old = '2001-01-01T00:00:00Z'
    await publish(id, [{ t: 1 }, { t: 2, ts: old }, { t: 3 }])
    expect(await account(id)).toEqual({ received: 3, stored: 2, rejected: 1, duplicates: 0 })
    const [letter] = await lettersOf(id)
    expect(letter).toMatchObject({ rejected: 1, reason: expect.stringContaining('[1]') })
    const answer = await replay(letter.id)
    expect([answer.status, answer.json.error.code]).toEqual([422, 'TOO_OLD'])
    expect(await lettersOf(id)).toHaveLength(1)
  })

  it('validates under the rules of today: what was refused by earlier ones is stored', async () => {
    const { id } = await functions.register()
    const payload = Buffer.from('{"data":{"t":21.5,"location":"Indoor"},"ts":"36"}\0', 'latin1')
    const receivedAt = Date.now() - 60_000
    const letters = await runtime.deadLetters()
    await letters.keep({
      deviceId: id,
      topic: `iotflow/devices/${id}/telemetry`,
      payload,
      reason: 'location is a reserved name.',
      receivedAt,
      messageId: 'of-an-earlier-version',
    })
    const [letter] = await lettersOf(id)
    expect((await replay(letter.id)).json).toMatchObject({ accepted: 1, rejected: [] })
    const [reading] = await history(id)
    expect(reading).toMatchObject({ t: 21.5, metadata: { location: 'Indoor', device_time: '36' } })
    expect(Math.floor(Date.parse(reading.timestamp))).toBe(receivedAt)
  })

  it('is refused when the device was deleted', async () => {
    const { id } = await functions.register()
    await publish(id, 'x')
    await functions.call('admin-delete', 'DELETE', `/api/v1/admin/devices/${id}`, admin)
    await publish(id, { t: 1 })
    const [letter] = await lettersOf(id)
    expect(letter.reason).toBe('There is no such device.')
    expect((await replay(letter.id)).json.error).toMatchObject({ code: 'CONFLICT' })
  })
})

describe('an idempotency key', () => {
  const submit = (key: string, body: unknown, idempotencyKey?: string) =>
    functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', {
      key,
      body,
      ...(idempotencyKey === undefined ? {} : { headers: { 'Idempotency-Key': idempotencyKey } }),
    })

  it('stores one reading for two requests', async () => {
    const { id, key } = await functions.register()
    expect((await submit(key, { t: 1 }, 'k')).json).toMatchObject({ accepted: 1, duplicates: 0 })
    expect(await submit(key, { t: 1 }, 'k')).toMatchObject({
      status: 201,
      json: { accepted: 1, duplicates: 1 },
    })
    expect(await history(id)).toHaveLength(1)
    expect(await account(id)).toEqual({ received: 2, stored: 1, rejected: 0, duplicates: 1 })
  })

  it('is recognised in another batch, and over MQTT', async () => {
    const { id, key } = await functions.register()
    await submit(key, [{ t: 1, message_id: 'a' }, { t: 2, message_id: 'b' }, { t: 3 }])
    expect((await submit(key, [{ t: 2, message_id: 'b' }, { t: 4 }])).json).toMatchObject({ duplicates: 1 })
    await publish(id, { t: 1, message_id: 'a' })
    expect((await history(id)).map(({ t }: { t: number }) => t)).toEqual([1, 2, 3, 4])
    expect(await account(id)).toEqual({ received: 6, stored: 4, rejected: 0, duplicates: 2 })
  })

  it('with a blank, or of 256 characters, is refused', async () => {
    const { key } = await functions.register()
    for (const bad of ['a b', 'x'.repeat(256)])
      expect((await submit(key, { t: 1 }, bad)).json.error.details).toMatchObject([
        { path: 'Idempotency-Key' },
      ])
  })
})

describe('the account over HTTP', () => {
  it('counts each refused reading, and a body that is not JSON as one', async () => {
    const { id, key } = await functions.register()
    const submit = (body: unknown) =>
      functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', { key, body })
    await submit([{ t: 1 }, { t: [] }])
    await submit([{ t: [] }, { u: [] }])
    await submit('{"t":')
    await submit([])
    expect(await account(id)).toEqual({ received: 6, stored: 1, rejected: 5, duplicates: 0 })
  })
})
