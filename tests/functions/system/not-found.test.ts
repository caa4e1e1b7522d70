import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { notFound } from '../../../functions/system/not-found.ts'
import { createLog } from '../../../lib/log.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { openEndpoint } from '../../support/http-app.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const ask = (method: string, path: string) => functions.call('system-not-found', method, path)

describe('an address that no function has', () => {
  it.each(['/nothing', '/api/v1', '/api/v1/devices', '/api/v2/devices/status', '/api/v1/telemetry/1/2/3'])(
    'answers 404 for %s in the shape of every error',
    async (path) => {
      const answer = await ask('GET', path)
      expect(answer.status).toBe(404)
      expect(answer.json).toEqual({
        error: {
          code: 'NOT_FOUND',
          message: 'There is nothing at this address.',
          request_id: answer.headers.get('x-request-id'),
        },
      })
      expect(answer.headers.has('allow')).toBe(false)
    },
  )

  it('has the headers of every answer', async () => {
    const { headers } = await ask('GET', '/nothing')
    expect(headers.get('content-type')).toBe('application/json')
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('x-request-id')).toMatch(/\S{8,}/)
  })
})

describe('a request that no gateway recognises', () => {
  const routes = [
    {
      method: 'GET',
      path: '/pump/:id',
      app: async () => openEndpoint(['GET /pump/:id'], (c, reply) => reply(200, c.req.param('id'))),
    },
    {
      method: 'POST',
      path: '/broken',
      app: async () => {
        throw new Error('must not be loaded')
      },
    },
  ]
  const app = notFound({ log: createLog('silent'), routes })

  it('is answered by the function whose route it is', async () => {
    const slashed = await app.request('/pump/7/')
    expect([slashed.status, await slashed.text()]).toEqual([200, '7'])
    const head = await app.request('/pump/7', { method: 'HEAD' })
    expect([head.status, await head.text()]).toEqual([200, ''])
  })

  it('is refused where no route fits', async () => {
    expect((await app.request('/pump/7/8')).status).toBe(404)
    const wrong = await app.request('/broken/', { method: 'PUT' })
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'POST'])
  })
})

describe('a method that an address does not take', () => {
  it.each([
    ['GET', '/api/v1/devices/register', 'POST'],
    ['DELETE', '/api/v1/devices/config', 'GET, POST, PUT'],
    ['POST', '/api/v1/admin/devices/7', 'DELETE, GET, PUT'],
    ['PATCH', '/api/v1/telemetry/7', 'DELETE, GET'],
    ['POST', '/health', 'GET'],
  ])('is answered with 405: %s %s, which takes %s', async (method, path, allow) => {
    const answer = await ask(method, path)
    expect([
      answer.status,
      answer.headers.get('allow'),
      answer.json.error.code,
      answer.json.error.message,
    ]).toEqual([405, allow, 'METHOD_NOT_ALLOWED', `This address takes ${allow}.`])
  })

  it.each([
    ['GET', '/api/v1/devices/register/'],
    ['HEAD', '/api/v1/devices/register'],
  ])('is answered so for %s %s, too', async (method, path) => {
    const answer = await ask(method, path)
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST'])
  })

  it('does not count the methods of /telemetry/{id} for /telemetry/status', async () => {
    expect((await ask('DELETE', '/api/v1/telemetry/status')).headers.get('allow')).toBe('GET')
  })
})
