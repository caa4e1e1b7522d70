import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as runtime from '../../../lib/runtime.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { ruleEvent } from '../../support/rule-events.ts'
import { created, show } from './requests.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const tell = (id: number, topic: string, payload: unknown, more: object = {}) =>
  functions.invoke('commands-record-answer', { ...ruleEvent(id, topic, payload), ...more })
const stateOf = async (id: number, commandId: string) =>
  (await show(functions, id, commandId)).json.command.status

/** The warnings among the events of a device. */
const warnings = async (id: number) => {
  const devices = await runtime.devices()
  await devices.flush()
  return (await devices.events(id, { limit: 100 }))
    .filter(({ kind }) => kind === 'warning')
    .map(({ detail, repeated }) => [detail?.code, repeated?.count])
}

describe('an answer over MQTT', () => {
  it('names its command in the payload, in the topic, or by correlation data', async () => {
    const { id } = await functions.register()
    const ids: string[] = []
    for (let made = 0; made < 4; made += 1) ids.push(await created(functions, id))
    const [first = '', second = '', third = '', fourth = ''] = ids
    await tell(id, 'commands/response', { command_id: first, status: 'succeeded', result: { ok: true } })
    await tell(id, `commands/${second}/response`, { status: 'failed' })
    await tell(
      id,
      'commands/response',
      { status: 'acknowledged' },
      { correlation_data: Buffer.from(third).toString('base64') },
    )
    await tell(id, 'commands/response', { status: 'failed' }, { correlation_data: fourth })
    expect(await stateOf(id, fourth)).toBe('failed')
    expect([await stateOf(id, first), await stateOf(id, second), await stateOf(id, third)]).toEqual([
      'succeeded',
      'failed',
      'acknowledged',
    ])
    expect((await show(functions, id, first)).json.command.result).toEqual({ ok: true })
    expect(await warnings(id)).toEqual([])
  })

  it('counts for the command in the topic where the payload names another one', async () => {
    const { id } = await functions.register()
    const [own, other] = [await created(functions, id), await created(functions, id)]
    await tell(id, `commands/${own}/response`, { command_id: other, status: 'succeeded' })
    expect([await stateOf(id, own), await stateOf(id, other)]).toEqual(['succeeded', 'queued'])
  })

  it('to the command of another device changes nothing, and is counted', async () => {
    const { id } = await functions.register()
    const { id: other } = await functions.register()
    const commandId = await created(functions, id)
    await tell(other, 'commands/response', { command_id: commandId, status: 'succeeded' })
    await tell(other, `commands/${commandId}/response`, { status: 'failed' })
    expect(await stateOf(id, commandId)).toBe('queued')
    expect(await warnings(other)).toEqual([['UNKNOWN_COMMAND', 2]])
    expect(await warnings(id)).toEqual([])
  })

  it('that comes late is no fault', async () => {
    const { id } = await functions.register()
    const commandId = await created(functions, id)
    for (const status of ['succeeded', 'failed', 'acknowledged'])
      await tell(id, 'commands/response', { command_id: commandId, status })
    expect(await stateOf(id, commandId)).toBe('succeeded')
    expect(await warnings(id)).toEqual([])
  })

  it.each<[string, unknown]>([
    ['no JSON', 'done'],
    ['no object', 7],
    ['no status', { command_id: 'a' }],
    ['another status', { command_id: 'a', status: 'done' }],
    ['no command', { status: 'succeeded' }],
    ['an id that is no text', { command_id: 7, status: 'succeeded' }],
    ['101 levels', `{"status":"succeeded","result":${'['.repeat(101)}${']'.repeat(101)}}`],
  ])('that has %s is counted', async (_what, payload) => {
    const { id } = await functions.register()
    await tell(id, 'commands/response', payload)
    expect(await warnings(id)).toEqual([['INVALID_COMMAND_ANSWER', 1]])
  })
})
