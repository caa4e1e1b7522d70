import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const address = '/api/v1/admin/fleet/config'
const show = (id: number | string, options: CallOptions = { admin: true }) =>
  functions.call('admin-fleet-configuration', 'GET', `${address}/${id}`, options)
const newChange = async (): Promise<number> =>
  (
    await functions.call('admin-fleet-configure', 'PUT', address, {
      admin: true,
      body: { filter: {}, configuration: { a: 1 } },
    })
  ).json.fleet_configuration_id

describe('one change of many configurations', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => show(await newChange(), options),
  )

  it('is done when it is applied where there is no broker', async () => {
    await functions.register()
    const { json } = await show(await newChange())
    expect(json).toMatchObject({ status: 'success', state: 'done', targets: 2, applied: 2, published: 0 })
  })

  it.each(['999999', 'abc'])('answers 404 for the id %s', async (id) => {
    expect((await show(id)).status).toBe(404)
  })
})
