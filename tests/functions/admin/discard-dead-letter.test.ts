import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { ruleEvent } from '../../support/rule-events.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const discard = (id: number | string, options: CallOptions = { admin: true }) =>
  functions.call('admin-discard-dead-letter', 'DELETE', `/api/v1/admin/dead-letters/${id}`, options)

const lettersOf = async (deviceId: number): Promise<{ id: number }[]> =>
  (
    await functions.call('admin-dead-letters', 'GET', `/api/v1/admin/dead-letters?device_id=${deviceId}`, {
      admin: true,
    })
  ).json.dead_letters

/** The id of a new dead letter of this device. */
const deadLetter = async (deviceId: number): Promise<number> => {
  await functions.invoke('telemetry-ingest', ruleEvent(deviceId, 'telemetry', 'no JSON'))
  return (await lettersOf(deviceId))[0]?.id ?? 0
}

describe('a dead letter that is discarded', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => discard(await deadLetter((await functions.register()).id), options),
  )

  it('is gone, and others of the device stay', async () => {
    const { id } = await functions.register()
    const [first, second] = [await deadLetter(id), await deadLetter(id)]
    const answer = await discard(first)
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({ status: 'success', message: 'Dead letter discarded', id: first })
    expect((await lettersOf(id)).map((letter) => letter.id)).toEqual([second])
  })

  it('stays counted as rejected', async () => {
    const { id } = await functions.register()
    await discard(await deadLetter(id))
    const { json } = await functions.call('admin-show', 'GET', `/api/v1/admin/devices/${id}`, { admin: true })
    expect(json.accounting).toMatchObject({ received: 1, rejected: 1, stored: 0 })
  })

  it('cannot be replayed any more', async () => {
    const { id } = await functions.register()
    const letter = await deadLetter(id)
    await discard(letter)
    const path = `/api/v1/admin/dead-letters/${letter}/replay`
    expect((await functions.call('admin-replay-dead-letter', 'POST', path, { admin: true })).status).toBe(404)
  })

  it.each(['999999', 'abc', '0'])('answers 404 for the id %s', async (id) => {
    const answer = await discard(id)
    expect([answer.status, answer.json.error.code]).toEqual([404, 'NOT_FOUND'])
  })

  it('answers 404 the second time', async () => {
    const { id } = await functions.register()
    const letter = await deadLetter(id)
    const answers = [await discard(letter), await discard(letter)]
    expect(answers.map(({ status }) => status)).toEqual([200, 404])
  })
})
