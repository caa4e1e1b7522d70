import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { ruleEvent } from '../../support/rule-events.ts'
import { itIsForAdminsOnly } from './refusals.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(noon)
  functions = await openFunctions()
})
afterAll(async () => {
  await functions.close()
  vi.useRealTimers()
})

const replay = (id: number | string, options: CallOptions = { admin: true }) =>
  functions.call('admin-replay-dead-letter', 'POST', `/api/v1/admin/dead-letters/${id}/replay`, options)

const lettersOf = async (deviceId: number): Promise<{ id: number; rejected: number; reason: string }[]> =>
  (
    await functions.call('admin-dead-letters', 'GET', `/api/v1/admin/dead-letters?device_id=${deviceId}`, {
      admin: true,
    })
  ).json.dead_letters

/** A dead letter of a message that arrived while its device was inactive; the device is active again. */
const refusedWhileInactive = async (payload: unknown, receivedAt = noon - 60_000) => {
  const { id } = await functions.register()
  await functions.setStatus(id, 'inactive')
  await functions.invoke('telemetry-ingest', ruleEvent(id, 'telemetry/lab', payload, receivedAt))
  await functions.setStatus(id, 'active')
  const [letter] = await lettersOf(id)
  return { id, letter: letter?.id ?? 0 }
}

describe('a replay', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => replay((await refusedWhileInactive({ t: 1 })).letter, options),
  )

  it('stores the readings at their time of arrival and removes the dead letter', async () => {
    const { id, letter } = await refusedWhileInactive({ t: 21.5 })
    const answer = await replay(letter)
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      message: 'Dead letter replayed',
      id: letter,
      accepted: 1,
      queued: 0,
      duplicates: 0,
      rejected: [],
    })
    const [reading] = await functions.historyOf(id)
    expect(reading).toMatchObject({ t: 21.5, metadata: { subtopic: 'lab' } })
    expect(reading.timestamp).toMatch(/^2026-03-01T11:59:00/)
    expect(await lettersOf(id)).toEqual([])
  })

  it('moves the count from rejected to stored', async () => {
    const { id, letter } = await refusedWhileInactive({ t: 1 })
    expect(await functions.accountOf(id)).toMatchObject({ received: 1, stored: 0, rejected: 1 })
    await replay(letter)
    expect(await functions.accountOf(id)).toMatchObject({
      received: 1,
      stored: 1,
      rejected: 0,
      duplicates: 0,
    })
  })

  it('answers 404 the second time and stores nothing again', async () => {
    const { id, letter } = await refusedWhileInactive([{ t: 1 }, { t: 2 }])
    await replay(letter)
    expect((await replay(letter)).status).toBe(404)
    expect(await functions.historyOf(id)).toHaveLength(2)
  })

  it('answers 409 while the device is inactive, and keeps the dead letter', async () => {
    const { id, letter } = await refusedWhileInactive({ t: 1 })
    await functions.setStatus(id, 'inactive')
    const answer = await replay(letter)
    expect([answer.status, answer.json.error]).toMatchObject([
      409,
      {
        code: 'CONFLICT',
        message: 'The device of this dead letter is inactive: its message cannot be stored.',
      },
    ])
    expect(await lettersOf(id)).toHaveLength(1)
  })

  it('answers 409 when there is no such device', async () => {
    await functions.invoke('telemetry-ingest', ruleEvent(888_888, 'telemetry', { t: 1 }))
    const [letter] = await lettersOf(888_888)
    const answer = await replay(letter?.id ?? 0)
    expect([answer.status, answer.json.error.message]).toEqual([
      409,
      'The device of this dead letter does not exist: its message cannot be stored.',
    ])
  })

  it('answers 400 for a message that is no JSON, and keeps it', async () => {
    const { id, letter } = await refusedWhileInactive('{"t":')
    const answer = await replay(letter)
    expect([answer.status, answer.json.error.code]).toEqual([400, 'MALFORMED_JSON'])
    expect([await lettersOf(id), await functions.accountOf(id)]).toMatchObject([
      [{ id: letter }],
      { received: 1, rejected: 1 },
    ])
  })

  it.each(['999999', 'abc', '0'])('answers 404 for the id %s', async (id) => {
    const answer = await replay(id)
    expect([answer.status, answer.json.error.code]).toEqual([404, 'NOT_FOUND'])
  })
})
