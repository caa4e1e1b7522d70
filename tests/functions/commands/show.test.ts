import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly } from '../admin/refusals.ts'
import { addressOf, created, show } from './requests.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

describe('a command', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => {
      const { id } = await functions.register()
      return functions.call('commands-show', 'GET', addressOf(id, await created(functions, id)), options)
    },
  )

  it('is found under its device only', async () => {
    const { id } = await functions.register()
    const { id: other } = await functions.register()
    const commandId = await created(functions, id)
    expect((await show(functions, id, commandId)).json.command.command_id).toBe(commandId)
    for (const [device, command] of [
      [other, commandId],
      [id, 'unknown'],
      [999_999, commandId],
      ['abc', commandId],
    ] as const) {
      const answer = await show(functions, device, command)
      expect([answer.status, answer.json.error.code]).toEqual([404, 'NOT_FOUND'])
    }
  })
})
