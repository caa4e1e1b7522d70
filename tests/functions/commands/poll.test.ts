import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { answer, created, poll, show } from './requests.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

describe('a device that asks for commands', () => {
  it('needs its key', async () => {
    const answer = await functions.call('commands-poll', 'GET', '/api/v1/devices/commands')
    expect([answer.status, answer.json.error.code]).toEqual([401, 'UNAUTHORIZED'])
  })

  it('gets its own in their order, which count as sent', async () => {
    const { id, key } = await functions.register()
    const { id: other } = await functions.register()
    await created(functions, other)
    const ids = [
      await created(functions, id, { command: 'first', params: [1] }),
      await created(functions, id, { command: 'second', channel: 'config' }),
    ]
    const polled = await poll(functions, key)
    expect(polled.status).toBe(200)
    const { commands } = polled.json
    expect(polled.json).toEqual({ status: 'success', device_id: id, commands, count: 2, retry_after_s: 0 })
    expect(commands.map((one: { command_id: string }) => one.command_id)).toEqual(ids)
    const { issued_at, expires_at } = commands[0]
    expect(commands[0]).toEqual({
      command_id: ids[0],
      command: 'first',
      params: [1],
      issued_at,
      expires_at,
    })
    expect((await show(functions, id, ids[0] as string)).json.command).toMatchObject({
      status: 'sent',
      attempts: 1,
    })
    expect((await poll(functions, key)).json).toMatchObject({ commands: [], retry_after_s: 30 })
  })

  it('gets at most 20 at once', async () => {
    const { id, key } = await functions.register()
    for (let made = 0; made < 21; made += 1) await created(functions, id)
    expect([(await poll(functions, key)).json.count, (await poll(functions, key)).json.count]).toEqual([
      20, 1,
    ])
  })

  it('gets one that comes while it waits', async () => {
    const { id, key } = await functions.register()
    const polled = poll(functions, key, '?wait=25')
    await sleep(50)
    const commandId = await created(functions, id)
    expect((await polled).json.commands).toMatchObject([{ command_id: commandId }])
  })

  it('is answered when the time is over', async () => {
    const { key } = await functions.register()
    expect((await poll(functions, key, '?wait=1')).json).toMatchObject({ commands: [], retry_after_s: 0 })
  })

  it('is told when there is no place to wait', async () => {
    const { id, key } = await functions.register()
    const held = [1, 2, 3].map(() => poll(functions, key, '?wait=25'))
    await sleep(50)
    expect((await poll(functions, key, '?wait=25')).json).toMatchObject({ commands: [], retry_after_s: 10 })
    const commandId = await created(functions, id)
    await answer(functions, key, commandId, { status: 'succeeded' })
    for (let made = 0; made < 2; made += 1) await created(functions, id)
    await Promise.race(held)
    await functions.call('admin-revoke-key', 'POST', `/api/v1/admin/devices/${id}/revoke-key`, {
      admin: true,
    })
    await Promise.all(held)
  })

  it('is refused when its key was revoked meanwhile', async () => {
    const { id, key } = await functions.register()
    const polled = poll(functions, key, '?wait=25')
    await sleep(50)
    await functions.call('admin-revoke-key', 'POST', `/api/v1/admin/devices/${id}/revoke-key`, {
      admin: true,
    })
    const answer = await polled
    expect([answer.status, answer.json.error.code]).toEqual([401, 'UNAUTHORIZED'])
  })

  it.each(['-1', '26', 'x', '1.5'])('is refused with wait=%s', async (wait) => {
    const { key } = await functions.register()
    expect((await poll(functions, key, `?wait=${wait}`)).status).toBe(422)
  })
})
