import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { alertAddress, openAlert, send } from './alert-requests.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
let opened: Awaited<ReturnType<typeof openAlert>>
beforeAll(async () => {
  functions = await openFunctions({}, undefined, { longRunning: true })
  opened = await openAlert(functions)
})
afterAll(() => functions.close())

const show = (id: number | string, options: CallOptions = { admin: true }) =>
  functions.call('admin-show-alert', 'GET', `${alertAddress}/${id}`, options)

describe('one alert', () => {
  itIsForAdminsOnly(
    () => functions,
    (options) => show(opened.alertId, options),
  )

  it('has its history, oldest first', async () => {
    const { alertId, device } = opened
    await send(functions, device.key, { temperature: 20 })
    const { json } = await show(alertId)
    expect(json.alert).toMatchObject({ id: alertId, state: 'cleared', device_name: device.name })
    expect(json.alert.history).toEqual([
      { at: json.alert.opened_at, kind: 'opened', text: null },
      { at: json.alert.cleared_at, kind: 'cleared', text: 'condition' },
    ])
  })

  it('outlives its device', async () => {
    const { alertId, device } = await openAlert(functions)
    await functions.call('admin-delete', 'DELETE', `/api/v1/admin/devices/${device.id}`, { admin: true })
    expect((await show(alertId)).json.alert).toMatchObject({
      state: 'cleared',
      clear_reason: 'device_deleted',
      device_id: device.id,
      device_name: null,
    })
  })

  it.each(['999999', 'abc', '0'])('is unknown as %s', async (id) => {
    const { status, json } = await show(id)
    expect([status, json.error.message]).toEqual([404, 'There is no such alert.'])
  })
})
