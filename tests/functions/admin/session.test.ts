import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openSession } from '../../../functions/admin/session.ts'
import * as runtime from '../../../lib/runtime.ts'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions({}, undefined, { longRunning: true })
})
afterAll(() => functions.close())

const path = '/api/v1/admin/session'
const exchange = (code: unknown, options: CallOptions = {}) =>
  functions.call('admin-session', 'POST', path, { body: { code }, ...options })
const makeCode = () => runtime.sessionCodes()?.make() ?? ''

describe('a code', () => {
  it('is exchanged for the admin token, once', async () => {
    const code = makeCode()
    const answer = await exchange(code)
    expect([answer.status, answer.json]).toEqual([200, { status: 'success', token: functions.adminToken }])
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect((await exchange(code)).status).toBe(401)
  })

  it.each(['A'.repeat(27), 'x'])('is refused when nobody made it: %s', async (code) => {
    const { status, json, text } = await exchange(code)
    expect([status, json.error.code]).toEqual([401, 'UNAUTHORIZED'])
    expect(text).not.toContain(functions.adminToken)
  })

  it.each([undefined, 1, '', 'x'.repeat(101)])('must be a short text: %s', async (code) => {
    expect((await exchange(code)).status).toBe(422)
  })

  it('is not taken for a page that reaches this computer under another name', async () => {
    const code = makeCode()
    const { status } = await exchange(code, { headers: { Host: 'evil.example.com:5000' } })
    expect(status).toBe(404)
    expect((await exchange(code, { headers: { Host: 'localhost:5000' } })).status).toBe(200)
  })
})

it('is not there beyond this computer, and in other stages', async () => {
  const access = await runtime.accessControl()
  const app = openSession({ codes: undefined, adminToken: 'x'.repeat(24), log: runtime.log(), access })
  const answer = await app.request(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ code: makeCode() }),
  })
  expect(answer.status).toBe(404)
})
