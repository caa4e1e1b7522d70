import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { alerts, openAlert, ruleAddress, ruleOf, send, tooWarm } from './alert-requests.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions({}, undefined, { longRunning: true })
})
afterAll(() => functions.close())

const update = (id: number | string, body: unknown, options: CallOptions = { admin: true }) =>
  functions.call('admin-update-alert-rule', 'PUT', `${ruleAddress}/${id}`, { ...options, body })

describe('a changed alert rule', () => {
  let id: number
  beforeAll(async () => {
    id = await ruleOf(functions)
  })
  itIsForAdminsOnly(
    () => functions,
    (options) => update(id, { name: 'x' }, options),
  )

  it('keeps what is left out, its revision and its open alerts, when only its name changes', async () => {
    const { ruleId } = await openAlert(functions)
    const { status, json } = await update(ruleId, { name: 'Hot', severity: 'critical', colour: 1 })
    expect(status).toBe(200)
    expect(json.rule).toMatchObject({
      id: ruleId,
      name: 'Hot',
      severity: 'critical',
      revision: 1,
      condition: tooWarm,
      open_alerts: 1,
    })
    expect(json.rule.target.device_id).toBeGreaterThan(0)
  })

  it('clears its open alerts when it judges otherwise, and opens others', async () => {
    const { ruleId, device } = await openAlert(functions)
    const { json } = await update(ruleId, { condition: { ...tooWarm, value: 20 } })
    expect(json.rule).toMatchObject({ revision: 2, open_alerts: 0 })
    expect(await alerts(functions, `?rule_id=${ruleId}`)).toMatchObject([
      { state: 'cleared', clear_reason: 'rule_changed', condition: tooWarm },
    ])
    await send(functions, device.key, { temperature: 21 })
    expect(await alerts(functions, `?rule_id=${ruleId}&state=open`)).toMatchObject([
      { opened_value: 21, condition: { value: 20 } },
    ])
  })

  it('judges nothing while it is disabled', async () => {
    const { ruleId, device } = await openAlert(functions)
    expect((await update(ruleId, { enabled: false })).json.rule).toMatchObject({
      enabled: false,
      open_alerts: 0,
    })
    await send(functions, device.key, { temperature: 35 })
    expect(await alerts(functions, `?rule_id=${ruleId}&state=open`)).toEqual([])
    await update(ruleId, { enabled: true })
    await send(functions, device.key, { temperature: 36 })
    expect(await alerts(functions, `?rule_id=${ruleId}&state=open`)).toMatchObject([{ opened_value: 36 }])
  })

  it.each<[string, Record<string, unknown>, string]>([
    ['a device that is none', { target: { device_id: 999_999 } }, 'target.device_id'],
    ['a kind without its fields', { condition: { kind: 'warnings' } }, 'condition.count'],
    ['a name of null', { name: null }, 'name'],
    ['a misspelt part of the target', { target: { type: 'a' } }, 'target.type'],
  ])('is refused with %s, and stays as it was', async (_what, body, path) => {
    const before = await update(id, {})
    const { status, json } = await update(id, { severity: 'info', ...body })
    expect(status).toBe(422)
    expect(json.error.details.map((one: { path: string }) => one.path)).toContain(path)
    expect((await update(id, {})).json.rule.severity).toBe(before.json.rule.severity)
  })

  it('must be there', async () => {
    expect((await update(999_999, { name: 'a' })).status).toBe(404)
    expect((await update('x', { name: 'a' })).status).toBe(404)
  })
})
