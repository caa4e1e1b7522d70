import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { alerts, openAlert, ruleAddress, ruleOf, send } from './alert-requests.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
let toDelete: number
beforeAll(async () => {
  functions = await openFunctions({}, undefined, { longRunning: true })
  toDelete = await ruleOf(functions)
})
afterAll(() => functions.close())

const remove = (id: number | string, options: CallOptions = { admin: true }) =>
  functions.call('admin-delete-alert-rule', 'DELETE', `${ruleAddress}/${id}`, options)

describe('a deleted alert rule', () => {
  itIsForAdminsOnly(
    () => functions,
    (options) => remove(toDelete, options),
  )

  it('judges nothing any more, and its alerts stay as cleared ones', async () => {
    const { ruleId, device } = await openAlert(functions)
    const { status, json } = await remove(ruleId)
    expect([status, json]).toEqual([
      200,
      { status: 'success', message: 'Alert rule deleted successfully', id: ruleId },
    ])
    await send(functions, device.key, { temperature: 99 })
    expect(await alerts(functions, `?rule_id=${ruleId}`)).toMatchObject([
      { state: 'cleared', clear_reason: 'rule_deleted', rule_name: 'Too warm', device_name: device.name },
    ])
    expect((await remove(ruleId)).status).toBe(404)
  })
})
