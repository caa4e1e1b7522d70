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
