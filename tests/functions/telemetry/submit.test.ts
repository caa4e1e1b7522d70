import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const submit = (options: CallOptions, path = '/api/v1/devices/telemetry') =>
  functions.call('telemetry-submit', 'POST', path, options)

describe('a reading over HTTP', () => {
  it('is answered with the device, the time and the number of accepted readings', async () => {
    const { id, key, name } = await functions.register()
    const answer = await submit({ key, body: { data: { t: 21.5 }, timestamp: new Date().toISOString() } })
    expect(answer.status).toBe(201)
    expect(answer.json).toMatchObject({ device_id: id, device_name: name, accepted: 1, rejected: [] })
    const latest = await functions.call('telemetry-latest', 'GET', `/api/v1/telemetry/${id}/latest`, { key })
    expect(latest.json.latest_data.t).toBe(21.5)
  })

  it('in a batch is stored when others are refused; these are named by their index', async () => {
    const { key } = await functions.register()
    const answer = await submit({ key, body: [{ data: { a: 1 } }, { data: { a: [] } }, { data: { a: 2 } }] })
    expect(answer.status).toBe(201)
    expect(answer.json.accepted).toBe(2)
    expect(answer.json.rejected).toMatchObject([{ index: 1, code: 'VALIDATION_FAILED' }])
  })

  it('is accepted at every alias', async () => {
    const { id, key } = await functions.register()
    for (const path of ['/api/v1/telemetry', `/api/v1/mqtt/telemetry/${id}`])
      expect((await submit({ key, body: { data: { a: 1 } } }, path)).status).toBe(201)
  })

  it('is refused with 404 at the address of another device, and not stored', async () => {
    const { key } = await functions.register()
    const other = await functions.register()
    const answer = await submit({ key, body: { data: { a: 1 } } }, `/api/v1/mqtt/telemetry/${other.id}`)
    expect(answer.status).toBe(404)
    const history = await functions.call('telemetry-history', 'GET', `/api/v1/telemetry/${other.id}`, {
      admin: true,
    })
    expect(history.json.count).toBe(0)
  })

  it('says what was left out or changed', async () => {
    const { id, key } = await functions.register()
    const body = { ts: 36, values: { t: 21.5, bad: 'x'.repeat(5000) } }
    const answer = await submit({ key, body })
    expect(answer.status).toBe(201)
    const codes = answer.json.warnings.map(({ code, path }: { code: string; path: string }) => [code, path])
    expect(codes).toContainEqual(['CLOCK_WRONG', 'ts'])
    expect(codes).toContainEqual(['VALUE_INVALID', 'values.bad'])
    const batch = await submit({ key, body: [{ t: 1 }, body] })
    expect(batch.json.warnings.map(({ index }: { index: number }) => index)).toEqual([1, 1])
    const { json } = await functions.call('admin-show', 'GET', `/api/v1/admin/devices/${id}`, { admin: true })
    expect(json.accounting).toMatchObject({ received: 3, stored: 3, warned: 2 })
  })

  it('under strict handling is refused as a whole when there is any warning, and no key is reserved', async () => {
    const { id, key } = await functions.register()
    const strict = { key, headers: { Prefer: 'return=minimal, Handling=strict' } }
    const bad = [
      { t: 1, message_id: 'a' },
      { typo: 2, ts: 36 },
    ]
    const answer = await submit({ ...strict, body: bad })
    expect([answer.status, answer.json.error.code]).toEqual([422, 'VALIDATION_FAILED'])
    expect(answer.headers.get('Preference-Applied')).toBe('handling=strict')
    expect(answer.json.error.details).toMatchObject([
      { path: '[1].ts', message: expect.stringMatching(/^CLOCK_WRONG: /) },
    ])
    const history = await functions.call('telemetry-history', 'GET', `/api/v1/telemetry/${id}`, {
      admin: true,
    })
    expect(history.json.count).toBe(0)
    const good = await submit({ ...strict, body: { t: 1, message_id: 'a' } })
    expect([good.status, good.json.duplicates]).toEqual([201, 0])
    expect(good.headers.get('Preference-Applied')).toBe('handling=strict')
    const { json } = await functions.call('admin-show', 'GET', `/api/v1/admin/devices/${id}`, { admin: true })
    expect(json.accounting).toMatchObject({ received: 3, stored: 1, rejected: 2, warned: 0 })
    const fields = await functions.call('telemetry-fields', 'GET', `/api/v1/telemetry/${id}/fields`, { key })
    expect(fields.json.fields.map(({ name }: { name: string }) => name)).toEqual(['t'])
  })

  it('has its local time in the zone of the device', async () => {
    const { key } = await functions.register({ timezone: 'Asia/Kathmandu' })
    const minuteAgo = Math.floor(Date.now() / 1000 - 60) * 1000
    const local = new Date(minuteAgo + (5 * 60 + 45) * 60_000).toISOString().slice(0, 19)
    const answer = await submit({ key, body: { Time: local, AM2301: { Temperature: 23.4 } } })
    expect(answer.json).toMatchObject({ timestamp: `${new Date(minuteAgo).toISOString().slice(0, 19)}Z` })
    expect(answer.json.warnings).toBeUndefined()
  })

  it('may be SenML; any other +json is refused', async () => {
    const { id, key } = await functions.register()
    const pack = [
      { bn: 'dev:1:', n: 'temp', u: 'Cel', v: 21.5 },
      { n: 'door', vb: true },
    ]
    const headers = { 'Content-Type': 'application/senml+json; charset=utf-8' }
    expect((await submit({ key, body: pack, headers })).status).toBe(201)
    const { json } = await functions.call('telemetry-latest', 'GET', `/api/v1/telemetry/${id}/latest`, {
      key,
    })
    expect(json.latest_data).toMatchObject({ temp: 21.5, door: true })
    const other = await submit({ key, body: pack, headers: { 'Content-Type': 'application/geo+json' } })
    expect([other.status, other.json.error.code]).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE'])
  })

  it('under a message id that was used for another reading is stored, with a warning', async () => {
    const { id, key } = await functions.register()
    const send = (body: unknown) => submit({ key, body })
    expect((await send({ data: { t: 1 }, message_id: 'esp_5000' })).json.warnings).toBeUndefined()
    const answer = await send({ data: { t: 2 }, message_id: 'esp_5000' })
    expect(answer.json).toMatchObject({
      accepted: 1,
      duplicates: 0,
      warnings: [{ path: 'message_id', code: 'MESSAGE_ID_REUSED' }],
    })
    expect(answer.json.warnings[0]).not.toHaveProperty('index')
    const again = await send({ data: { t: 2 }, message_id: 'esp_5000' })
    expect(again.json).toMatchObject({ accepted: 1, duplicates: 1 })
    expect(again.json.warnings).toBeUndefined()
    const batch = await send([{ t: 3 }, { t: 4, message_id: 'esp_5000' }])
    expect(batch.json.warnings).toMatchObject([{ index: 1, code: 'MESSAGE_ID_REUSED' }])
    const { json } = await functions.call('admin-show', 'GET', `/api/v1/admin/devices/${id}`, { admin: true })
    expect(json.accounting).toMatchObject({ received: 5, stored: 4, duplicates: 1, warned: 2 })
  })

  it('with a message id and an age is recognised although the age has grown', async () => {
    const { key } = await functions.register()
    const send = (age_ms: number) => submit({ key, body: { t: 1, message_id: '7', age_ms } })
    await send(1000)
    expect((await send(2500)).json).toMatchObject({ duplicates: 1 })
  })

  it('under an Idempotency-Key that came with another body is refused', async () => {
    const { id, key } = await functions.register()
    const send = (body: unknown) => submit({ key, body, headers: { 'Idempotency-Key': 'k-1' } })
    expect((await send({ t: 1, message_id: 'a' })).status).toBe(201)
    const answer = await send({ t: 2, message_id: 'b' })
    expect([answer.status, answer.json.error.code]).toEqual([422, 'VALIDATION_FAILED'])
    expect(answer.json.error.details).toMatchObject([{ path: 'Idempotency-Key' }])
    expect((await send({ t: 1, message_id: 'a' })).json).toMatchObject({ duplicates: 1 })
    const { json } = await functions.call('admin-show', 'GET', `/api/v1/admin/devices/${id}`, { admin: true })
    expect(json.accounting).toMatchObject({ received: 3, stored: 1, rejected: 1, duplicates: 1 })
  })

  it('under an Idempotency-Key is stored when it is nested deeply, and recognised', async () => {
    const { key } = await functions.register()
    const body = `{"t":1,"deep":${'['.repeat(50_000)}${']'.repeat(50_000)}}`
    const headers = { 'Idempotency-Key': 'k-deep', 'Content-Type': 'application/json' }
    expect(await submit({ key, body, headers })).toMatchObject({ status: 201, json: { duplicates: 0 } })
    expect(await submit({ key, body, headers })).toMatchObject({ status: 201, json: { duplicates: 1 } })
  })

  it('leaves out fields beyond 1,000 names of the device, with at most 20 warnings and their number', async () => {
    const { id, key } = await functions.register()
    const names = (from: number) =>
      Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`f${from + at}`, 1]))
    for (let from = 0; from < 1000; from += 200) await submit({ key, body: names(from) })
    const answer = await submit({
      key,
      body: [
        { f1: 2, x: 1, y: 2 },
        { f2: 3, ...names(2000) },
      ],
    })
    expect(answer.json.accepted).toBe(2)
    expect(answer.json.warnings).toHaveLength(20)
    expect(answer.json.warnings[0]).toMatchObject({ index: 0, path: 'x', code: 'FIELD_LIMIT' })
    expect(answer.json.warnings_total).toBe(22)
    const latest = await functions.call('telemetry-latest', 'GET', `/api/v1/telemetry/${id}/latest`, { key })
    expect(latest.json.latest_data).toMatchObject({ f1: 2, f2: 3 })
    expect(latest.json.latest_data.x).toBeUndefined()
    expect((await submit({ key, body: { z: 1 } })).status).toBe(422)
  })

  it.each<[string, CallOptions, number, string]>([
    ['no body', {}, 400, 'MALFORMED_JSON'],
    ['broken JSON', { body: '{"a":' }, 400, 'MALFORMED_JSON'],
    [
      'another content type',
      { body: '{"a":1}', headers: { 'Content-Type': 'text/plain' } },
      415,
      'UNSUPPORTED_MEDIA_TYPE',
    ],
    ['nothing to store', { body: { data: {} } }, 422, 'VALIDATION_FAILED'],
    [
      'no device',
      { body: { data: { a: 1 } }, headers: { 'X-API-Key': 'x'.repeat(32) } },
      401,
      'UNAUTHORIZED',
    ],
  ])('with %s is refused', async (_what, options, status, code) => {
    const { key } = await functions.register()
    const answer = await submit({ key, ...options })
    expect([answer.status, answer.json.error.code]).toEqual([status, code])
  })
})

describe('the clock of the server', () => {
  it('set forward and back leaves stored times, and gives later readings true times at once', async () => {
    const { id, key } = await functions.register()
    const [start, minute] = [Date.now(), 60_000]
    const send = (at: number, n: number) => {
      vi.setSystemTime(at)
      return submit({ key, body: { n } })
    }
    try {
      await send(start, 1)
      await send(start + 60 * minute, 2)
      expect((await send(start + minute, 3)).status).toBe(201)
      const path = `/api/v1/telemetry/${id}?end_time=${start + 120 * minute}`
      const { json } = await functions.call('telemetry-history', 'GET', path, { key })
      const found = json.data.map(({ timestamp, n }: { timestamp: string; n: number }) => [
        Math.floor((Date.parse(timestamp) - start) / minute),
        n,
      ])
      expect(found).toEqual([
        [60, 2],
        [1, 3],
        [0, 1],
      ])
    } finally {
      vi.useRealTimers()
    }
  })
})
