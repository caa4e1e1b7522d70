import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly, itNeedsAKnownDevice } from '../admin/refusals.ts'
import { create, created, list, show } from './requests.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

describe('a command of an operator', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => create(functions, (await functions.register()).id, { command: 'restart' }, options),
    202,
  )
  itNeedsAKnownDevice((id) => create(functions, id))

  it('is stored, and answered with its id before it is delivered', async () => {
    const { id } = await functions.register()
    const answer = await create(functions, id, {
      command: 'restart',
      params: { delay_s: 5 },
      ttl_s: 60,
      max_attempts: 3,
    })
    expect(answer.status).toBe(202)
    const { command_id, issued_at, expires_at } = answer.json
    expect(answer.json).toEqual({ command_id, status: 'queued', device_id: id, issued_at, expires_at })
    expect(Date.parse(expires_at) - Date.parse(issued_at)).toBe(60_000)
    expect((await show(functions, id, command_id)).json.command).toEqual({
      command_id,
      command: 'restart',
      params: { delay_s: 5 },
      device_id: id,
      channel: null,
      status: 'queued',
      attempts: 0,
      max_attempts: 3,
      issued_at,
      expires_at,
      sent_at: null,
      acknowledged_at: null,
      finished_at: null,
      result: null,
    })
  })

  it('lives for a day, and is delivered once, unless it says otherwise', async () => {
    const { id } = await functions.register()
    const { command } = (await show(functions, id, await created(functions, id))).json
    expect(Date.parse(command.expires_at) - Date.parse(command.issued_at)).toBe(86_400_000)
    expect(command.max_attempts).toBe(1)
  })

  it.each([
    ['no command', {}],
    ['an empty command', { command: '' }],
    ['a command of 129 characters', { command: 'x'.repeat(129) }],
    ['a control character', { command: 'a\u0007b' }],
    ['another channel', { command: 'a', channel: 'response' }],
    ['a life of 0 s', { command: 'a', ttl_s: 0 }],
    ['a life of more than 30 days', { command: 'a', ttl_s: 2_592_001 }],
    ['no attempt', { command: 'a', max_attempts: 0 }],
    ['eleven attempts', { command: 'a', max_attempts: 11 }],
    ['a message above 128 KiB', { command: 'a', params: 'x'.repeat(131_072) }],
  ])('is refused with %s', async (_what, body) => {
    const { id } = await functions.register()
    const answer = await create(functions, id, body)
    expect([answer.status, answer.json.error.code]).toEqual([422, 'VALIDATION_FAILED'])
    expect((await list(functions, id)).json.commands).toEqual([])
  })

  it('is refused while 100 others have not ended', async () => {
    const { id } = await functions.register()
    for (let made = 0; made < 100; made += 1) expect((await create(functions, id)).status).toBe(202)
    const answer = await create(functions, id)
    expect([answer.status, answer.json.error.code]).toEqual([409, 'CONFLICT'])
  })

  it('may come under the name and in the form of the predecessor', async () => {
    const { id } = await functions.register()
    const send = (body: unknown) =>
      functions.call('commands-create', 'POST', `/api/v1/mqtt/device/${id}/command`, { admin: true, body })
    const text = await send({ command_type: 'control', command: 'restart', qos: 2 })
    const object = await send({ command_type: 'firmware', command: { action: 'update', version: '2.0' } })
    expect([text.status, object.status]).toEqual([202, 202])
    const [second, first] = (await list(functions, id)).json.commands
    expect(first).toMatchObject({ command: 'restart', params: null, channel: 'control' })
    expect(second).toMatchObject({
      command: 'firmware',
      params: { action: 'update', version: '2.0' },
      channel: 'firmware',
    })
  })

  it('goes with its device', async () => {
    const { id } = await functions.register()
    const commandId = await created(functions, id)
    await functions.call('admin-delete', 'DELETE', `/api/v1/admin/devices/${id}`, { admin: true })
    expect((await show(functions, id, commandId)).status).toBe(404)
  })
})
