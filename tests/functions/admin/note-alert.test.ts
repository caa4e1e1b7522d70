import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { alertAddress, openAlert, send } from './alert-requests.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
let first: number
beforeAll(async () => {
  functions = await openFunctions({}, undefined, { longRunning: true })
  first = (await openAlert(functions)).alertId
})
afterAll(() => functions.close())

const addNote = (id: number | string, body: unknown, options: CallOptions = { admin: true }) =>
  functions.call('admin-note-alert', 'POST', `${alertAddress}/${id}/notes`, { ...options, body })

describe('a note on an alert', () => {
  itIsForAdminsOnly(
    () => functions,
    (options) => addNote(first, { text: 'a' }, options),
    201,
  )

  it('stands in its history, also when it is cleared', async () => {
    const { alertId, device } = await openAlert(functions)
    expect((await addNote(alertId, { text: ' Part ordered. ' })).json.alert.history).toMatchObject([
      { kind: 'opened' },
      { kind: 'note', text: 'Part ordered.' },
    ])
    await send(functions, device.key, { temperature: 5 })
    // Notes and readings of the same millisecond have no order.
    await sleep(2)
    const { status, json } = await addNote(alertId, { text: 'Part arrived.' })
    expect(status).toBe(201)
    expect(json.alert).toMatchObject({ state: 'cleared' })
    expect(json.alert.history.at(-1)).toMatchObject({ kind: 'note', text: 'Part arrived.' })
  })

  it('is one of a hundred at most', async () => {
    const { alertId } = await openAlert(functions)
    for (let made = 0; made < 100; made += 1) await addNote(alertId, { text: `note ${made}` })
    const { status, json } = await addNote(alertId, { text: 'one more' })
    expect([status, json.error.code]).toEqual([409, 'CONFLICT'])
  })

  it.each([{}, { text: '' }, { text: 7 }, { text: 'x'.repeat(2001) }])('is refused as %j', async (body) => {
    const { status, json } = await addNote(first, body)
    expect([status, json.error.details[0].path]).toEqual([422, 'text'])
  })

  it('needs an alert', async () => {
    expect((await addNote(999_999, { text: 'a' })).status).toBe(404)
  })
})
