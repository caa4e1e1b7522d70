import { describe, expect, it } from 'vitest'
import { AppError, type ErrorCode } from '../../../lib/errors.ts'
import { busyAsUnavailable } from '../../../lib/libsql/errors.ts'
import { createLog } from '../../../lib/log.ts'
import { openEndpoint, type TestReply } from '../../support/http-app.ts'

type Handle = Parameters<typeof openEndpoint>[1]

const ask = (handle: Handle, path = '/a', init: RequestInit = {}) =>
  openEndpoint(['GET /a'], handle).request(path, init)

const failing = (error: unknown) =>
  ask(() => {
    throw error
  })

const ok: Handle = (_c, reply) => reply(200, { ok: true })

describe('an endpoint', () => {
  it('answers at each of its addresses and methods', async () => {
    const app = openEndpoint(['GET /a/:id', 'POST /b'], (c, reply) =>
      reply(200, { id: c.req.param('id') ?? null }),
    )
    expect(await (await app.request('/a/7')).json()).toEqual({ id: '7' })
    expect(await (await app.request('/b', { method: 'POST' })).json()).toEqual({ id: null })
  })

  it.each([
    ['another path', '/b', 'GET'],
    ['another method', '/a', 'POST'],
  ])('answers 404 at %s, in the shape of every error', async (_what, path, method) => {
    const answer = await ask(ok, path, { method })
    expect([answer.status, await answer.json()]).toEqual([
      404,
      {
        error: {
          code: 'NOT_FOUND',
          message: 'There is nothing at this address.',
          request_id: answer.headers.get('x-request-id'),
        },
      },
    ])
  })

  it('does not handle a caller who is not admitted', async () => {
    let handled = 0
    const app = openEndpoint(
      ['GET /a'],
      (_c, reply) => {
        handled += 1
        return reply(200, {})
      },
      { admit: () => Promise.reject(new AppError('FORBIDDEN', 'No.')) },
    )
    expect([(await app.request('/a')).status, handled]).toEqual([403, 0])
  })
})

describe('an answer', () => {
  it('has the headers of every answer', async () => {
    const { headers } = await ask(ok)
    expect(Object.fromEntries(headers)).toEqual({
      'cache-control': 'no-store',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'content-type': 'application/json',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'x-request-id': expect.stringMatching(/^[0-9a-f]{24}$/),
    })
  })

  it('has a request id of its own', async () => {
    const ids = await Promise.all([1, 2, 3].map(async () => (await ask(ok)).headers.get('x-request-id')))
    expect(new Set(ids).size).toBe(3)
  })

  it('has the headers that its handler adds, in the place of those of every answer', async () => {
    const { headers } = await ask((c, reply) => {
      Object.assign(c.get('headers'), { ETag: '"1"', 'Cache-Control': 'public' })
      return reply(200, {})
    })
    expect([headers.get('etag'), headers.get('cache-control')]).toEqual(['"1"', 'public'])
  })

  it('tells the state of the limit that was counted', async () => {
    const { headers } = await ask((c, reply) => {
      c.set('limit', { allowed: true, limit: 10, remaining: 9, resetAt: Date.now() + 1500 })
      return reply(200, {})
    })
    expect([
      headers.get('ratelimit-limit'),
      headers.get('ratelimit-remaining'),
      headers.get('ratelimit-reset'),
    ]).toEqual(['10', '9', '2'])
  })

  it.each<[string, (reply: TestReply) => Response, number, string | null, string]>([
    ['JSON', (reply) => reply(201, { a: [1] }), 201, 'application/json', '{"a":[1]}'],
    ['text', (reply) => reply(200, 'a,b', 'text/csv'), 200, 'text/csv', 'a,b'],
    ['no body', (reply) => reply(304), 304, null, ''],
  ])('is %s', async (_what, answerWith, status, contentType, text) => {
    const answer = await ask((_c, reply) => answerWith(reply))
    expect([answer.status, answer.headers.get('content-type'), await answer.text()]).toEqual([
      status,
      contentType,
      text,
    ])
  })
})

describe('an error', () => {
  const statuses: Record<ErrorCode, number> = {
    BAD_REQUEST: 400,
    MALFORMED_JSON: 400,
    UNAUTHORIZED: 401,
    FORBIDDEN: 403,
    NOT_FOUND: 404,
    METHOD_NOT_ALLOWED: 405,
    CONFLICT: 409,
    PRECONDITION_FAILED: 412,
    PAYLOAD_TOO_LARGE: 413,
    UNSUPPORTED_MEDIA_TYPE: 415,
    VALIDATION_FAILED: 422,
    NOT_NUMERIC: 422,
    TOO_OLD: 422,
    BATCH_TOO_LONG: 422,
    RATE_LIMITED: 429,
    ADMIN_DISABLED: 503,
    ENROLLMENT_DISABLED: 503,
    WEBHOOKS_DISABLED: 503,
    UNAVAILABLE: 503,
    INTERNAL: 500,
    NOT_IMPLEMENTED: 501,
  }

  it.each(Object.entries(statuses) as [ErrorCode, number][])(
    '%s is answered with %d',
    async (code, status) => {
      expect((await failing(new AppError(code, 'A sentence.'))).status).toBe(status)
    },
  )

  it('carries its sentence, the request id and the details, and no details when there are none', async () => {
    const details = [{ path: 'name', message: 'is taken' }]
    const answer = await failing(new AppError('CONFLICT', 'A sentence.', { details }))
    expect(await answer.json()).toEqual({
      error: {
        code: 'CONFLICT',
        message: 'A sentence.',
        request_id: answer.headers.get('x-request-id'),
        details,
      },
    })
    const { error } = (await (await failing(new AppError('CONFLICT', 'A sentence.'))).json()) as {
      error: object
    }
    expect('details' in error).toBe(false)
  })

  it.each<[string, AppError, string | null]>([
    ['the seconds that the error names', new AppError('UNAVAILABLE', '.', { retryAfterS: 2 }), '2'],
    ['whole seconds, rounded up', new AppError('RATE_LIMITED', '.', { retryAfterS: 1.2 }), '2'],
    ['at least one second', new AppError('RATE_LIMITED', '.', { retryAfterS: 0 }), '1'],
    ['an hour where an operator has to act', new AppError('ADMIN_DISABLED', '.'), '3600'],
    ['nothing for other errors', new AppError('CONFLICT', '.'), null],
  ])('has in Retry-After %s', async (_what, error, retryAfter) => {
    expect((await failing(error)).headers.get('retry-after')).toBe(retryAfter)
  })

  it('that nobody expected tells nothing of itself', async () => {
    const answer = await failing(new Error('SELECT secret FROM keys'))
    expect([answer.status, await answer.json()]).toEqual([
      500,
      {
        error: {
          code: 'INTERNAL',
          message: 'Something went wrong here; the request id helps to find out what.',
          request_id: answer.headers.get('x-request-id'),
        },
      },
    ])
  })

  it('of a busy database is answered with 503, however deep it is wrapped', async () => {
    const locked = Object.assign(new Error('database is locked'), { code: 'SQLITE_BUSY' })
    const busy = busyAsUnavailable(locked)
    const answer = await failing(new Error('Failed query', { cause: new Error('batch', { cause: busy }) }))
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '2'])
  })
})

describe('the log line of a request', () => {
  const logOf = async (path: string, handle: Handle) => {
    let text = ''
    const log = createLog('info', (lines) => {
      text += lines
    })
    const answer = await openEndpoint(['GET /a/*'], handle, { log }).request(path)
    log.flush()
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    return { answer, lines, text }
  }

  it('tells method, path, status, duration and device, and nothing of the query', async () => {
    const { answer, lines, text } = await logOf('/a/b?api_key=secret', (c, reply) => {
      c.set('deviceId', 7)
      return reply(200, {})
    })
    expect(lines).toEqual([
      {
        time: expect.any(String),
        level: 'info',
        msg: 'request',
        request_id: answer.headers.get('x-request-id'),
        method: 'GET',
        path: '/a/b',
        status: 200,
        ms: expect.any(Number),
        device_id: 7,
      },
    ])
    expect(text).not.toContain('secret')
  })

  it('shows the first 200 characters of a longer path', async () => {
    const { lines } = await logOf(`/a/${'x'.repeat(300)}`, ok)
    expect(lines[0].path).toHaveLength(200)
  })

  it('stands behind one for an unexpected error, without its message', async () => {
    const { answer, lines, text } = await logOf('/a/b', () => {
      throw new Error('SELECT secret FROM keys')
    })
    const request_id = answer.headers.get('x-request-id')
    expect(lines).toMatchObject([
      { level: 'error', msg: 'request failed', request_id, error: { name: 'Error' } },
      { level: 'info', msg: 'request', request_id, status: 500 },
    ])
    expect(text).not.toContain('secret')
  })
})
