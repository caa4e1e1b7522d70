import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { ruleAddress, ruleOf, tooWarm } from './alert-requests.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
let id: number
beforeAll(async () => {
  functions = await openFunctions({}, undefined, { longRunning: true })
  id = await ruleOf(functions)
})
afterAll(() => functions.close())

const show = (rule: number | string, options: CallOptions = { admin: true }) =>
  functions.call('admin-show-alert-rule', 'GET', `${ruleAddress}/${rule}`, options)

describe('one alert rule', () => {
  itIsForAdminsOnly(
    () => functions,
    (options) => show(id, options),
  )

  it('is shown', async () => {
    expect((await show(id)).json).toMatchObject({
      status: 'success',
      rule: { id, name: 'Too warm', condition: tooWarm, target: {}, open_alerts: 0 },
    })
  })

  it.each(['999999', 'abc', '0', '-1'])('is unknown as %s', async (unknown) => {
    const { status, json } = await show(unknown)
    expect([status, json.error.message]).toEqual([404, 'There is no such alert rule.'])
  })
})
