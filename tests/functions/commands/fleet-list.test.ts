import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly } from '../admin/refusals.ts'
import { fleetAddress, sent } from './fleet-requests.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const list = (query = '') =>
  functions.call('commands-fleet-list', 'GET', `${fleetAddress}${query}`, { admin: true })

describe('the list of fleet commands', () => {
  itIsForAdminsOnly(
    () => functions,
    (options) => functions.call('commands-fleet-list', 'GET', fleetAddress, options),
  )

  it('has the newest first, with their progress, page by page', async () => {
    const { id } = await functions.register()
    const made = [await sent(functions, [id]), await sent(functions, [id]), await sent(functions, [id])]
    const first = await list('?limit=2')
    expect(first.json.fleet_commands).toMatchObject([
      { fleet_command_id: made[2], status: 'running', targets: 1, progress: { queued: 1, succeeded: 0 } },
      { fleet_command_id: made[1] },
    ])
    const second = await list(`?limit=2&cursor=${first.json.next_cursor}`)
    expect(second.json.fleet_commands[0].fleet_command_id).toBe(made[0])
    expect(second.json.next_cursor).toBeUndefined()
  })
})
