import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Layer, openLayer } from '../../support/layer.ts'

let layer: Layer
beforeAll(async () => {
  layer = await openLayer()
})
afterAll(() => layer.close())

const path = '/api/v1/admin/dead-letters'
const admin = { admin: true } as const
let sent = 0

/** A message over MQTT. */
const publish = (deviceId: number, payload: string | object, receivedAt = Date.now()) => {
  sent += 1
  return layer.invoke('telemetry-ingest', {
    payload: Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload)).toString('base64'),
    topic: `iotflow/devices/${deviceId}/telemetry/lab`,
    client_id: String(deviceId),
    received_at: receivedAt,
    message_id: `m-${sent}`,
  })
}
const lettersOf = async (id: number) =>
  (await layer.call('admin-dead-letters', 'GET', `${path}?device_id=${id}`, admin)).json.dead_letters
const replay = (id: number) => layer.call('admin-replay-dead-letter', 'POST', `${path}/${id}/replay`, admin)
const account = async (id: number) => {
  const { json } = await layer.call('admin-show', 'GET', `/api/v1/admin/devices/${id}`, admin)
  const { exact, ...counts } = json.accounting
  expect(exact).toBe(true)
  const { received, stored, spooled, rejected, duplicates } = counts
  expect(received).toBe(stored + spooled + rejected + duplicates)
  return { received, stored, rejected, duplicates }
}
const history = async (id: number) =>
  (await layer.call('telemetry-history', 'GET', `/api/v1/telemetry/${id}?order=asc`, admin)).json.data

describe('a message that is no reading', () => {
  it('is listed with its reason and shown with its payload, but for keys', async () => {
    const { id, key } = await layer.register()
    await publish(id, `{"api_key":"${key}","t":`)
    const [letter] = await lettersOf(id)
    expect(letter).toMatchObject({
      device_id: id,
      topic: `iotflow/devices/${id}/telemetry/lab`,
      payload: '{"api_key":"","t":',
      rejected: 1,
    })
    expect(letter.reason).toMatch(/JSON/)
    const { json } = await layer.call('admin-show-dead-letter', 'GET', `${path}/${letter.id}`, admin)
    expect(Buffer.from(json.dead_letter.payload_base64, 'base64').toString()).toBe('{"api_key":"","t":')
    expect(await account(id)).toEqual({ received: 1, stored: 0, rejected: 1, duplicates: 0 })
    expect((await replay(letter.id)).status).toBe(400)
  })

  it.each([
    ['{"data":{"gw.api_key":"S3CRET"},"x":[1]}', '{"data":{"gw.api_key":""},"x":[1]}'],
    [
      '{"api\\u005fkey" : "S3CRET", "a":[12345678901234567890]}',
      '{"api\\u005fkey" : "", "a":[12345678901234567890]}',
    ],
    ['{"api_key":{"a":"x","b":["S3CRET"]},"a":[1]}', '{"api_key":"","a":[1]}'],
    [
      '{"note":"\\"api_key\\":1","api_key":["k","S3CRET"],"a":[1]}',
      '{"note":"\\"api_key\\":1","api_key":"","a":[1]}',
    ],
    ['{"API_KEY":"S3CRET","a":[1]}', '{"API_KEY":"","a":[1]}'],
    ['{"data":{"api_key":null,"a":[1]}}', '{"data":{"api_key":null,"a":[1]}}'],
    ["{'api_key': 'S3CRET', 'a': 1}", `{'api_key': "", 'a': 1}`],
    ['{"api_key":{"a":"x","b":"S3CRET"', '{"api_key":""'],
    ['gw.api_key=S3CRET, a=1', 'gw.api_key="", a=1'],
  ])('is kept without the keys in it: %s', async (payload, kept) => {
    const { id } = await layer.register()
    await publish(id, payload)
    const [letter] = await lettersOf(id)
    expect(letter.payload).toBe(kept)
  })

  it('pushes out the oldest of its own device only, beyond 1000 of them or 1 MB', async () => {
    const [quiet, loud, large] = [await layer.register(), await layer.register(), await layer.register()]
    await publish(quiet.id, 'quiet')
    for (let n = 0; n < 1005; n += 1) await publish(loud.id, `loud ${n}`)
    for (let n = 0; n < 12; n += 1) await publish(large.id, `${n} `.padEnd(100_000, 'x'))
    const totalOf = async (id: number) =>
      (await layer.call('admin-dead-letters', 'GET', `${path}?device_id=${id}&limit=1`, admin)).json
    expect((await totalOf(loud.id)).total).toBe(1000)
    expect((await totalOf(loud.id)).dead_letters[0].payload).toBe('loud 1004')
    expect((await totalOf(large.id)).total).toBe(10)
    expect((await totalOf(quiet.id)).total).toBe(1)
  })

  it('is replayed once, however many ask at the same time', async () => {
    const { id } = await layer.register()
    await publish(id, { data: { a: [1] } })
    await publish(id, { batch: [{ a: 1 }, { a: 2 }], timestamp: 'x' })
    // Refused when it came, and good by now: the device was inactive.
    const set = (status: string) =>
      layer.call('admin-set-status', 'PUT', `/api/v1/admin/devices/${id}/status`, {
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

  it('is the same message as the one that its device sends again', async () => {
    const { id, key } = await layer.register()
    const set = (status: string) =>
      layer.call('admin-set-status', 'PUT', `/api/v1/admin/devices/${id}/status`, {
        ...admin,
        body: { status },
      })
    const message = { data: { c: 1 }, message_id: 'once' }
    await set('inactive')
    await publish(id, message)
    await set('active')
    const again = await layer.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', {
      key,
      body: message,
    })
    expect(again.json).toMatchObject({ accepted: 1, duplicates: 0 })
    const [letter] = await lettersOf(id)
    expect((await replay(letter.id)).json).toMatchObject({ accepted: 1, duplicates: 1 })
    expect(await history(id)).toHaveLength(1)
    expect(await account(id)).toEqual({ received: 2, stored: 1, rejected: 0, duplicates: 1 })
  })

  it('is given up by an operator, and stays counted', async () => {
    const { id } = await layer.register()
    await publish(id, 'x')
    const [letter] = await lettersOf(id)
    const discard = () => layer.call('admin-discard-dead-letter', 'DELETE', `${path}/${letter.id}`, admin)
    expect((await discard()).status).toBe(200)
    expect((await discard()).status).toBe(404)
    expect(await lettersOf(id)).toEqual([])
    expect(await account(id)).toMatchObject({ received: 1, rejected: 1 })
  })

  it('goes page by page, newest first', async () => {
    const { id } = await layer.register()
    for (const text of ['a', 'b', 'c']) await publish(id, text)
    const first = await layer.call('admin-dead-letters', 'GET', `${path}?device_id=${id}&limit=2`, admin)
    expect(first.json.total).toBe(3)
    const { json } = await layer.call(
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
    layer.call('admin-set-status', 'PUT', `/api/v1/admin/devices/${id}/status`, {
      ...admin,
      body: { status },
    })

  it('takes device, arrival and subtopic from the record, and moves the count', async () => {
    const { id } = await layer.register()
    const other = await layer.register()
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

  it('changes nothing the second time, nor when two come at once', async () => {
    const { id } = await layer.register()
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

  it('of a batch concerns only the readings that were refused', async () => {
    const { id } = await layer.register()
    await publish(id, [{ t: 1 }, { t: [] }, { t: 3 }, { t: {} }])
    expect(await account(id)).toEqual({ received: 4, stored: 2, rejected: 2, duplicates: 0 })
    const [letter] = await lettersOf(id)
    expect(letter.rejected).toBe(2)
    const answer = await replay(letter.id)
    expect(answer.status).toBe(422)
    expect(await account(id)).toEqual({ received: 4, stored: 2, rejected: 2, duplicates: 0 })
    expect(await lettersOf(id)).toHaveLength(1)
  })

  it('is refused for a device that is gone', async () => {
    const { id } = await layer.register()
    await publish(id, 'x')
    await layer.call('admin-delete', 'DELETE', `/api/v1/admin/devices/${id}`, admin)
    await publish(id, { t: 1 })
    const [letter] = await lettersOf(id)
    expect(letter.reason).toBe('There is no such device.')
    expect((await replay(letter.id)).json.error).toMatchObject({ code: 'CONFLICT' })
  })
})

describe('a key of the sender', () => {
  const submit = (key: string, body: unknown, idempotencyKey?: string) =>
    layer.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', {
      key,
      body,
      ...(idempotencyKey === undefined ? {} : { headers: { 'Idempotency-Key': idempotencyKey } }),
    })

  it('makes one reading of two requests', async () => {
    const { id, key } = await layer.register()
    expect((await submit(key, { t: 1 }, 'k')).json).toMatchObject({ accepted: 1, duplicates: 0 })
    expect(await submit(key, { t: 1 }, 'k')).toMatchObject({
      status: 201,
      json: { accepted: 1, duplicates: 1 },
    })
    expect(await history(id)).toHaveLength(1)
    expect(await account(id)).toEqual({ received: 2, stored: 1, rejected: 0, duplicates: 1 })
  })

  it('is known in another batch, and over MQTT', async () => {
    const { id, key } = await layer.register()
    await submit(key, [{ t: 1, message_id: 'a' }, { t: 2, message_id: 'b' }, { t: 3 }])
    expect((await submit(key, [{ t: 9, message_id: 'b' }, { t: 4 }])).json).toMatchObject({ duplicates: 1 })
    await publish(id, { t: 8, message_id: 'a' })
    expect((await history(id)).map(({ t }: { t: number }) => t)).toEqual([1, 2, 3, 4])
    expect(await account(id)).toEqual({ received: 6, stored: 4, rejected: 0, duplicates: 2 })
  })

  it('that is none is refused', async () => {
    const { key } = await layer.register()
    for (const bad of ['a b', 'x'.repeat(256)])
      expect((await submit(key, { t: 1 }, bad)).json.error.details).toMatchObject([
        { path: 'Idempotency-Key' },
      ])
  })
})

describe('the account over HTTP', () => {
  it('counts what is refused, reading by reading, and a body that is no JSON as one', async () => {
    const { id, key } = await layer.register()
    const submit = (body: unknown) =>
      layer.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', { key, body })
    await submit([{ t: 1 }, { t: [] }])
    await submit([{ t: [] }, { u: [] }])
    await submit('{"t":')
    await submit([])
    expect(await account(id)).toEqual({ received: 6, stored: 1, rejected: 5, duplicates: 0 })
  })
})
