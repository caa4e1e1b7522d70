import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const address = '/api/v1/admin/enrollment-keys'
const newKey = async (): Promise<number> =>
  (
    await functions.call('admin-create-enrollment-key', 'POST', address, {
      admin: true,
      body: { name: 'north' },
    })
  ).json.enrollment_key.id
const show = (id: number | string, options: CallOptions = { admin: true }) =>
  functions.call('admin-show-enrollment-key', 'GET', `${address}/${id}`, options)

describe('one enrolment key', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => show(await newKey(), options),
  )

  it('is shown without the key', async () => {
    const id = await newKey()
    const { json } = await show(id)
    expect(json).toEqual({
      status: 'success',
      enrollment_key: {
        id,
        name: 'north',
        key_prefix: expect.stringMatching(/^\w{6}$/),
        status: 'active',
        device_type: null,
        max_devices: null,
        used: 0,
        created_at: expect.any(String),
        expires_at: null,
        last_used_at: null,
        revoked_at: null,
      },
    })
  })

  it.each(['999999', 'abc', '0'])('answers 404 for the id %s', async (id) => {
    const answer = await show(id)
    expect([answer.status, answer.json.error.message]).toEqual([404, 'There is no such enrolment key.'])
  })
})
