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

const show = (id: number | string, options: CallOptions = { admin: true }) =>
  functions.call('admin-show-dead-letter', 'GET', `/api/v1/admin/dead-letters/${id}`, options)

/** The id of a new dead letter with this payload. */
const deadLetter = async (deviceId: number, payload: unknown): Promise<number> => {
  await functions.invoke('telemetry-ingest', ruleEvent(deviceId, 'telemetry/lab', payload, noon + 250))
  const { json } = await functions.call('admin-dead-letters', 'GET', '/api/v1/admin/dead-letters?limit=1', {
    admin: true,
  })
  return json.dead_letters[0].id
}

describe('one dead letter', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => show(await deadLetter((await functions.register()).id, 'x'), options),
  )

  it('shows where the message came from, why it was refused, and its whole payload', async () => {
    const { id } = await functions.register()
    const payload = `${'x'.repeat(600)} end`
    const letter = await deadLetter(id, payload)
    const answer = await show(letter)
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      dead_letter: {
        id: letter,
        device_id: id,
        topic: `iotflow/devices/${id}/telemetry/lab`,
        reason: expect.stringMatching(/JSON/),
        received_at: '2026-03-01T12:00:00.250Z',
        rejected: 1,
        size: 604,
        payload: 'x'.repeat(500),
        payload_base64: Buffer.from(payload).toString('base64'),
      },
    })
  })

  it('keeps bytes that are no text as they came', async () => {
    const { id } = await functions.register()
    const bytes = Buffer.from([0, 255, 254, 128, 10])
    const { dead_letter } = (await show(await deadLetter(id, bytes))).json
    expect(Buffer.from(dead_letter.payload_base64, 'base64')).toEqual(bytes)
  })

  it('keeps a message of an unknown device under its id', async () => {
    const { dead_letter } = (await show(await deadLetter(999_999, { t: 1 }))).json
    expect(dead_letter).toMatchObject({ device_id: 999_999, reason: 'There is no such device.' })
  })

  it.each(['999999', 'abc', '0', '1.5'])('answers 404 for the id %s', async (id) => {
    const answer = await show(id)
    expect([answer.status, answer.json.error.code]).toEqual([404, 'NOT_FOUND'])
  })
})
