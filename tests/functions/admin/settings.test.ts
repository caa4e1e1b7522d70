import { afterAll, beforeAll, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions({ RETENTION_DAYS: '7', REDIS_URL: '' })
})
afterAll(() => functions.close())

const settings = (options = {}) =>
  functions.call('admin-settings', 'GET', '/api/v1/admin/settings', { admin: true, ...options })

it('lists the settings in effect, without a secret', async () => {
  const { status, json, text } = await settings()
  expect(status).toBe(200)
  expect(json.settings).toContainEqual({
    name: 'RETENTION_DAYS',
    value: 7,
    source: 'environment',
    secret: false,
    meaning: expect.any(String),
  })
  expect(text).not.toContain(functions.adminToken)
})

itIsForAdminsOnly(
  () => functions,
  (options) => functions.call('admin-settings', 'GET', '/api/v1/admin/settings', options),
)
