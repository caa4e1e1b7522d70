import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly, itNeedsAKnownDevice } from '../admin/refusals.ts'
import { addressOf, cancel, created, list } from './requests.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

describe('the commands of a device', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) =>
      functions.call('commands-list', 'GET', addressOf((await functions.register()).id), options),
  )
  itNeedsAKnownDevice((id) => list(functions, id))

  it('are listed newest first, in pages', async () => {
    const { id } = await functions.register()
    const { id: other } = await functions.register()
    const ids: string[] = []
    for (const command of ['a', 'b', 'c']) ids.push(await created(functions, id, { command }))
    await created(functions, other)
    const first = (await list(functions, id, '?limit=2')).json
    expect(first).toMatchObject({ status: 'success', device_id: id })
    const second = (await list(functions, id, `?limit=2&cursor=${first.next_cursor}`)).json
    expect(second.next_cursor).toBeUndefined()
    expect(
      [...first.commands, ...second.commands].map((one: { command_id: string }) => one.command_id),
    ).toEqual(ids.reverse())
  })

  it('are listed by their state', async () => {
    const { id } = await functions.register()
    await created(functions, id, { command: 'stays' })
    await cancel(functions, id, await created(functions, id, { command: 'goes' }))
    const names = async (status: string) =>
      (await list(functions, id, `?status=${status}`)).json.commands.map(
        (one: { command: string }) => one.command,
      )
    expect([await names('queued'), await names('cancelled'), await names('failed')]).toEqual([
      ['stays'],
      ['goes'],
      [],
    ])
    expect((await list(functions, id, '?status=lost')).status).toBe(422)
  })

  it('come in pages that end at 4 MB', async () => {
    const { id } = await functions.register()
    for (let made = 0; made < 35; made += 1)
      await created(functions, id, { command: 'a', params: 'x'.repeat(130_000) })
    const { commands, next_cursor } = (await list(functions, id)).json
    expect(commands.length).toBe(32)
    expect((await list(functions, id, `?cursor=${next_cursor}`)).json.commands.length).toBe(3)
  })
})
