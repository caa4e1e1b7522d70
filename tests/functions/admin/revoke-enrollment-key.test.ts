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
const revoke = (id: number | string, options: CallOptions = { admin: true }) =>
  functions.call('admin-revoke-enrollment-key', 'DELETE', `${address}/${id}`, options)

describe('the revocation of an enrolment key', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => revoke(await newKey(), options),
  )

  it('ends it for good, the first time', async () => {
    const id = await newKey()
    const first = await revoke(id)
    expect(first.json).toMatchObject({
      status: 'success',
      message: 'Enrolment key revoked successfully',
      enrollment_key: { id, status: 'revoked', revoked_at: expect.any(String) },
    })
    const second = await revoke(id)
    expect(second.json.enrollment_key).toEqual(first.json.enrollment_key)
  })

  it.each(['999999', 'abc', '0'])('answers 404 for the id %s', async (id) => {
    expect((await revoke(id)).status).toBe(404)
  })
})
