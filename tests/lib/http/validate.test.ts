import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import {
  bodyOrQuery,
  idempotencyKeyOf,
  idOf,
  jsonBody,
  optionalBody,
  queryOf,
} from '../../../lib/http/validate.ts'
import { appFor } from '../../support/http-app.ts'

type App = ReturnType<typeof appFor>

const json = { 'Content-Type': 'application/json' }

const post = async (app: App, init: RequestInit & { duplex?: 'half' }, path = '/') =>
  (await app.request(path, { method: 'POST', headers: json, ...init })).json()

const get = async (app: App, path: string, headers: Record<string, string> = {}) =>
  (await app.request(path, { headers })).json()

const Body = z.object(
  { name: z.string('must be text'), size: z.int('must be whole').optional() },
  'must be an object',
)

describe('a body that has a schema', () => {
  const app = appFor('POST /', (c) => jsonBody(c, Body))

  it('is read without the fields that the schema does not know', async () => {
    expect(await post(app, { body: '{"name":"a","more":1}' })).toEqual({ value: { name: 'a' } })
  })

  it('is refused with every bad field named', async () => {
    expect(await post(app, { body: '{"size":1.5}' })).toEqual({
      code: 'VALIDATION_FAILED',
      message: 'The body is not valid: name: must be text; size: must be whole.',
      details: [
        { path: 'name', message: 'must be text' },
        { path: 'size', message: 'must be whole' },
      ],
    })
  })

  it('is refused as a whole when it is no object', async () => {
    expect(await post(app, { body: '[]' })).toEqual({
      code: 'VALIDATION_FAILED',
      message: 'The body is not valid: must be an object.',
      details: [{ path: '', message: 'must be an object' }],
    })
  })

  it('is refused when it is nested more deeply than 100 levels', async () => {
    const anything = appFor('POST /', (c) => jsonBody(c, z.json()))
    const lists = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)
    expect(await post(anything, { body: lists(100) })).toEqual({ value: JSON.parse(lists(100)) })
    for (const levels of [101, 2400, 100_000])
      expect(await post(anything, { body: lists(levels) })).toEqual({
        code: 'VALIDATION_FAILED',
        message: 'The body is nested more deeply than 100 levels.',
        details: [{ path: '', message: 'is nested more deeply than 100 levels' }],
      })
  })

  it('is needed: an empty one is no JSON', async () => {
    expect(await post(app, { body: '' })).toEqual({
      code: 'MALFORMED_JSON',
      message: 'The body is empty: JSON is expected.',
    })
  })

  it('with very many bad fields names the first hundred', async () => {
    const List = z.object({ list: z.array(z.number()) })
    const listApp = appFor('POST /', (c) => jsonBody(c, List))
    const body = JSON.stringify({ list: Array.from({ length: 500 }, () => 'x') })
    const { details, message } = (await post(listApp, { body })) as {
      details: { path: string }[]
      message: string
    }
    expect([details.length, details[99]?.path]).toEqual([100, 'list.99'])
    expect(message.length).toBeLessThan(600)
  })
})

describe('a body that may be left out', () => {
  const app = appFor('POST /', (c) => optionalBody(c, z.object({ grace: z.int().default(60) })))

  it('counts as an empty object then', async () => {
    expect(await post(app, {})).toEqual({ value: { grace: 60 } })
  })

  it('is checked when it is there', async () => {
    expect(await post(app, { body: '{"grace":1}' })).toEqual({ value: { grace: 1 } })
    expect(await post(app, { body: '{"grace":"1"}' })).toMatchObject({ code: 'VALIDATION_FAILED' })
    expect(await post(app, { body: 'null' })).toMatchObject({ code: 'VALIDATION_FAILED' })
  })
})

describe('fields of the body or of the query', () => {
  const app = appFor('POST /', (c) =>
    bodyOrQuery(c, z.object({ start: z.string().regex(/^\d+$/), end: z.string() })),
  )

  it('come from the query where there is no body', async () => {
    expect(await post(app, {}, '/?start=1&end=2')).toEqual({ value: { start: '1', end: '2' } })
  })

  it('come from the body where there is one', async () => {
    expect(await post(app, { body: '{"start":"3","end":"4"}' }, '/?start=1')).toEqual({
      value: { start: '3', end: '4' },
    })
  })

  it('are not mixed, and a query beside a body has to be valid too', async () => {
    expect(await post(app, { body: '{"start":"3"}' }, '/?end=4')).toMatchObject({
      code: 'VALIDATION_FAILED',
      details: [{ path: 'end' }],
    })
    expect(await post(app, { body: '{"start":"3","end":"4"}' }, '/?start=x')).toMatchObject({
      code: 'VALIDATION_FAILED',
      details: [{ path: 'start' }],
    })
  })
})

describe('the parameters of a query', () => {
  const app = appFor('GET /', (c) =>
    queryOf(c, z.object({ limit: z.string().regex(/^\d+$/, 'must be a number').optional() })),
  )

  it('are read, unknown ones left out', async () => {
    expect(await get(app, '/?limit=5&more=1')).toEqual({ value: { limit: '5' } })
    expect(await get(app, '/')).toEqual({ value: {} })
  })

  it('count once: of one that is given twice the first', async () => {
    expect(await get(app, '/?limit=5&limit=6')).toEqual({ value: { limit: '5' } })
  })

  it('are refused by name', async () => {
    expect(await get(app, '/?limit=x')).toEqual({
      code: 'VALIDATION_FAILED',
      message: 'The query is not valid: limit: must be a number.',
      details: [{ path: 'limit', message: 'must be a number' }],
    })
  })
})

describe('the id in a path', () => {
  const app = appFor('GET /:id', (c) => idOf(c))

  it.each([
    ['1', 1],
    ['999999999999999', 999_999_999_999_999],
  ])('%s is a number', async (text, id) => {
    expect(await get(app, `/${text}`)).toEqual({ value: id })
  })

  it.each(['0', '01', '-1', '1.0', '1e3', 'abc', '1000000000000000', '%31%20', '١'])(
    '%s is none',
    async (text) => {
      expect(await get(app, `/${text}`)).toMatchObject({
        code: 'NOT_FOUND',
        message: 'There is no such device.',
      })
    },
  )
})

describe('the Idempotency-Key of a request', () => {
  const app = appFor('GET /', (c) => idempotencyKeyOf(c))

  it.each(['a', '8e03978e-40d5-43e8-bc93-6894a57f9324', '~!"{}', 'x'.repeat(255)])(
    '%s is taken',
    async (key) => {
      expect(await get(app, '/', { 'Idempotency-Key': key })).toEqual({ value: key })
    },
  )

  it('may be absent or empty', async () => {
    expect(await get(app, '/')).toEqual({})
    expect(await get(app, '/', { 'Idempotency-Key': '' })).toEqual({})
  })

  it.each(['a b', 'x'.repeat(256), 'é'])('%s is refused', async (key) => {
    expect(await get(app, '/', { 'Idempotency-Key': key })).toEqual({
      code: 'VALIDATION_FAILED',
      message: 'Idempotency-Key must be 1 to 255 visible ASCII characters.',
      details: [{ path: 'Idempotency-Key', message: 'must be 1 to 255 visible ASCII characters' }],
    })
  })
})
