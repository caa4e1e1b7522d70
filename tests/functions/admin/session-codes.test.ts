import { afterAll, beforeAll, expect, it } from 'vitest'
import { makeSessionCode } from '../../../functions/admin/session-codes.ts'
import * as runtime from '../../../lib/runtime.ts'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions({}, undefined, { longRunning: true })
})
afterAll(() => functions.close())

const path = '/api/v1/admin/session-codes'
const make = (options: CallOptions) => functions.call('admin-session-codes', 'POST', path, options)

it('makes a code that signs in', async () => {
  const { status, json } = await make({ admin: true })
  expect([status, json]).toEqual([
    201,
    { status: 'success', code: expect.stringMatching(/^[\w-]{27}$/), valid_s: 300 },
  ])
  const answer = await functions.call('admin-session', 'POST', '/api/v1/admin/session', {
    body: { code: json.code },
  })
  expect(answer.json.token).toBe(functions.adminToken)
})

it.each<[string, CallOptions, number]>([
  ['nobody', {}, 401],
  ['a wrong token', { headers: { Authorization: `Bearer ${'x'.repeat(30)}` } }, 401],
  ['a page under another name', { admin: true, headers: { Host: 'evil.example.com' } }, 404],
])('makes none for %s', async (_who, options, status) => {
  expect((await make(options)).status).toBe(status)
})

it('is not there beyond this computer, and in other stages', async () => {
  const access = await runtime.accessControl()
  const app = makeSessionCode({ codes: undefined, log: runtime.log(), access })
  const headers = { Authorization: `Bearer ${functions.adminToken}` }
  expect((await app.request(path, { method: 'POST', headers })).status).toBe(404)
})

it.each([
  ['dev', '127.0.0.1'],
  ['local', '0.0.0.0'],
])('is not there in stage %s at %s', async (STAGE, HOST) => {
  await functions.close()
  functions = await openFunctions({ STAGE, HOST }, undefined, { longRunning: true })
  expect(runtime.sessionCodes()).toBeUndefined()
})
