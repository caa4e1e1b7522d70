import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly } from '../admin/refusals.ts'
import { addressOf, cancel, created, show } from './requests.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

describe('a command that is cancelled', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => {
      const { id } = await functions.register()
      return functions.call('commands-cancel', 'DELETE', addressOf(id, await created(functions, id)), options)
    },
  )

  it('has ended, and stays as it is when it is cancelled again', async () => {
    const { id } = await functions.register()
    const commandId = await created(functions, id)
    const first = await cancel(functions, id, commandId)
    expect([first.status, first.json.command.status]).toEqual([200, 'cancelled'])
    expect(first.json.command.finished_at).not.toBeNull()
    const second = await cancel(functions, id, commandId)
    expect([second.status, second.json]).toEqual([200, first.json])
    expect((await show(functions, id, commandId)).json.command).toEqual(first.json.command)
  })

  it('is one of its device', async () => {
    const { id } = await functions.register()
    const { id: other } = await functions.register()
    const commandId = await created(functions, id)
    expect((await cancel(functions, other, commandId)).status).toBe(404)
    expect((await show(functions, id, commandId)).json.command.status).toBe('queued')
  })
})
