import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { answer, cancel, created, poll, show } from './requests.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

describe('an answer over HTTP', () => {
  it('needs the key of a device', async () => {
    const refused = await functions.call('commands-answer', 'POST', '/api/v1/devices/commands/a', {
      body: { status: 'succeeded' },
    })
    expect([refused.status, refused.json.error.code]).toEqual([401, 'UNAUTHORIZED'])
  })

  it('moves the command on, and is answered with the command as it is', async () => {
    const { id, key } = await functions.register()
    const commandId = await created(functions, id)
    await poll(functions, key)
    const first = await answer(functions, key, commandId, { status: 'acknowledged' })
    expect(first.status).toBe(200)
    expect(first.json).toMatchObject({
      status: 'success',
      recorded: true,
      command: { status: 'acknowledged' },
    })
    const second = await answer(functions, key, commandId, { status: 'failed', result: { code: 7 } })
    expect(second.json.command).toMatchObject({ status: 'failed', result: { code: 7 }, attempts: 1 })
    expect((await show(functions, id, commandId)).json.command).toEqual(second.json.command)
  })

  it.each([
    ['comes twice', 'succeeded', 'succeeded'],
    ['contradicts the first', 'succeeded', 'failed'],
    ['is out of order', 'failed', 'acknowledged'],
  ])('that %s changes nothing', async (_what, status, second) => {
    const { id, key } = await functions.register()
    const commandId = await created(functions, id)
    const first = await answer(functions, key, commandId, { status, result: 1 })
    const late = await answer(functions, key, commandId, { status: second, result: 2 })
    expect([late.status, late.json.recorded, late.json.command]).toEqual([200, false, first.json.command])
  })

  it('to a cancelled command changes nothing', async () => {
    const { id, key } = await functions.register()
    const commandId = await created(functions, id)
    await cancel(functions, id, commandId)
    expect((await answer(functions, key, commandId, { status: 'succeeded' })).json).toMatchObject({
      recorded: false,
      command: { status: 'cancelled', result: null },
    })
  })

  it('names a command of the device', async () => {
    const { id } = await functions.register()
    const { key } = await functions.register()
    const commandId = await created(functions, id)
    for (const name of [commandId, 'unknown']) {
      const refused = await answer(functions, key, name, { status: 'succeeded' })
      expect([refused.status, refused.json.error.code]).toEqual([404, 'NOT_FOUND'])
    }
    expect((await show(functions, id, commandId)).json.command.status).toBe('queued')
  })

  it.each([{}, { status: 'done' }, { status: 'queued' }, []])('is refused as %j', async (body) => {
    const { id, key } = await functions.register()
    expect((await answer(functions, key, await created(functions, id), body)).status).toBe(422)
  })
})
