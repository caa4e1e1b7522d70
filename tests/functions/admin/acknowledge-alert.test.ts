import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { alertAddress, alerts, openAlert, send } from './alert-requests.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
let first: number
beforeAll(async () => {
  functions = await openFunctions({}, undefined, { longRunning: true })
  first = (await openAlert(functions)).alertId
})
afterAll(() => functions.close())

const acknowledge = (id: number | string, body?: unknown, options: CallOptions = { admin: true }) =>
  functions.call('admin-acknowledge-alert', 'POST', `${alertAddress}/${id}/acknowledge`, {
    ...options,
    ...(body === undefined ? {} : { body }),
  })

describe('acknowledging an alert', () => {
  itIsForAdminsOnly(
    () => functions,
    (options) => acknowledge(first, undefined, options),
  )

  it('says who looks at it, once: a second note changes nothing', async () => {
    const { alertId, device } = await openAlert(functions)
    const { status, json } = await acknowledge(alertId, { note: '  The fan. ' })
    expect(status).toBe(200)
    expect(json.alert).toMatchObject({
      state: 'acknowledged',
      acknowledged_note: 'The fan.',
      acknowledged_at: expect.stringMatching(/Z$/),
    })
    expect(json.alert.history.at(-1)).toEqual({
      at: json.alert.acknowledged_at,
      kind: 'acknowledged',
      text: 'The fan.',
    })
    expect((await acknowledge(alertId, { note: 'Another' })).json.alert).toEqual(json.alert)
    // It stays open until its condition ends: no second one comes.
    await send(functions, device.key, { temperature: 35 })
    expect(await alerts(functions, `?device_id=${device.id}`)).toMatchObject([
      { id: alertId, state: 'acknowledged', last_value: 35 },
    ])
  })

  it('comes too late for one that is cleared', async () => {
    const { alertId, device } = await openAlert(functions)
    await send(functions, device.key, { temperature: 5 })
    const { status, json } = await acknowledge(alertId)
    expect([status, json.error.code]).toEqual([409, 'CONFLICT'])
    expect(await alerts(functions, `?device_id=${device.id}`)).toMatchObject([{ acknowledged_at: null }])
  })

  it.each([{ note: '' }, { note: 5 }, { note: 'x'.repeat(2001) }, []])(
    'is refused with the body %j',
    async (body) => {
      const { alertId } = await openAlert(functions)
      const { status, json } = await acknowledge(alertId, body)
      expect([status, json.error.details[0].path]).toEqual([422, Array.isArray(body) ? '' : 'note'])
      expect((await alerts(functions, '?state=open'))[0].id).toBe(alertId)
    },
  )

  it('needs an alert', async () => {
    expect((await acknowledge(999_999)).status).toBe(404)
    expect((await acknowledge('x')).status).toBe(404)
  })
})
