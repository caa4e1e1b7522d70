import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const address = '/api/v1/admin/fleet/config'
const list = (options: CallOptions = { admin: true }) =>
  functions.call('admin-fleet-configurations', 'GET', address, options)

describe('the list of changes of many configurations', () => {
  itIsForAdminsOnly(
    () => functions,
    (options) => list(options),
  )

  it('has the last hundred, newest first', async () => {
    expect((await list()).json).toEqual({ status: 'success', fleet_configurations: [] })
    for (let n = 0; n < 102; n += 1)
      await functions.call('admin-fleet-configure', 'PUT', address, {
        admin: true,
        body: { filter: { ids: [1] }, configuration: { [`key${n}`]: n } },
      })
    const changes = (await list()).json.fleet_configurations
    expect(changes).toHaveLength(100)
    expect(changes[0]).toMatchObject({ keys: ['key101'], targets: 1, filter: { ids: [1] } })
  })
})
