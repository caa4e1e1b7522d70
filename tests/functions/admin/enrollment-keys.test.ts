import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const address = '/api/v1/admin/enrollment-keys'
const list = (query = '', options: CallOptions = { admin: true }) =>
  functions.call('admin-enrollment-keys', 'GET', `${address}${query}`, options)

describe('the list of enrolment keys', () => {
  itIsForAdminsOnly(
    () => functions,
    (options) => list('', options),
  )

  it('is empty at first, then newest first, in pages', async () => {
    expect((await list()).json).toEqual({ status: 'success', enrollment_keys: [] })
    for (const name of ['one', 'two', 'three'])
      await functions.call('admin-create-enrollment-key', 'POST', address, { admin: true, body: { name } })
    const names = (json: { enrollment_keys: { name: string }[] }) =>
      json.enrollment_keys.map(({ name }) => name)
    const first = (await list('?limit=2')).json
    expect(names(first)).toEqual(['three', 'two'])
    const second = (await list(`?limit=2&cursor=${first.next_cursor}`)).json
    expect([names(second), second.next_cursor]).toEqual([['one'], undefined])
  })

  it('counts a key that is sent although registration is open to everybody', async () => {
    const { json } = await functions.call('admin-create-enrollment-key', 'POST', address, {
      admin: true,
      body: { name: 'in the open', max_devices: 1 },
    })
    const register = (name: string, headers = {}) =>
      functions.call('devices-register', 'POST', '/api/v1/devices/register', {
        body: { name, device_type: 'sensor' },
        headers,
      })
    const headers = { 'X-Enrollment-Key': json.key }
    expect((await register('open 1', headers)).status).toBe(201)
    expect((await register('open 2', headers)).status).toBe(403)
    expect((await register('open 3', { 'X-Enrollment-Key': 'something else' })).status).toBe(201)
    expect((await register('open 4')).status).toBe(201)
    expect((await list('?limit=1')).json.enrollment_keys).toMatchObject([{ used: 1, status: 'used_up' }])
  })
})
