import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { alerts, create, ruleAddress, ruleOf, send, tooWarm } from './alert-requests.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions({}, undefined, { longRunning: true })
})
afterAll(() => functions.close())

describe('a new alert rule', () => {
  itIsForAdminsOnly(
    () => functions,
    (options) =>
      functions.call('admin-create-alert-rule', 'POST', ruleAddress, {
        body: { name: 'a', condition: tooWarm },
        ...options,
      }),
    201,
  )

  it('is answered as it is kept, with the defaults', async () => {
    const { status, json } = await create(functions, { name: ' Too warm ', condition: tooWarm, color: 'red' })
    expect(status).toBe(201)
    expect(json).toEqual({
      status: 'success',
      rule: {
        id: expect.any(Number),
        revision: 1,
        name: 'Too warm',
        enabled: true,
        severity: 'warning',
        target: {},
        condition: tooWarm,
        created_at: expect.any(String),
        updated_at: json.rule.created_at,
        open_alerts: 0,
      },
    })
  })

  it('judges the next reading of the devices that it is about, and of no other', async () => {
    const [one, other] = [await functions.register({ device_type: 'boiler' }), await functions.register()]
    const rule = await ruleOf(functions, { severity: 'critical', target: { device_type: 'boiler' } })
    for (const { key } of [one, other]) await send(functions, key, { temperature: 30.5 })
    expect(await alerts(functions, `?rule_id=${rule}`)).toMatchObject([
      { device_id: one.id, device_name: one.name, severity: 'critical', state: 'open', opened_value: 30.5 },
    ])
  })

  it('is about devices by their labels', async () => {
    const [one, other] = [
      await functions.register({ labels: { site: 'north' } }),
      await functions.register({ labels: { site: 'south' } }),
    ]
    const rule = await ruleOf(functions, { target: { selector: 'site=north' } })
    for (const { key } of [one, other]) await send(functions, key, { temperature: 40 })
    expect(await alerts(functions, `?rule_id=${rule}`)).toMatchObject([{ device_id: one.id }])
  })

  it.each<[string, object, unknown]>([
    ['every kind: no_data', { kind: 'no_data', for: '5m' }, undefined],
    ['offline without a duration', { kind: 'offline' }, undefined],
    ['warnings', { kind: 'warnings', count: 3, within: '1h' }, undefined],
    ['dead letters', { kind: 'dead_letters', count: 3, within: '7d' }, undefined],
    ['a text', { kind: 'threshold', field: 'mode', op: '==', value: 'error' }, undefined],
    ['a boolean', { kind: 'threshold', field: 'door', op: '!=', value: false }, undefined],
    [
      'hysteresis',
      { kind: 'threshold', field: 't', op: '<', value: 3, clear_value: 5, for: '1h30m', clear_for: '10s' },
      undefined,
    ],
    [
      'an unknown field, which is left out',
      { kind: 'no_data', for: '5m', colour: 1 },
      { kind: 'no_data', for: '5m' },
    ],
  ])('takes %s', async (_what, condition, kept) => {
    const { status, json } = await create(functions, { name: 'a', condition })
    expect([status, json.rule?.condition]).toEqual([201, kept ?? condition])
  })

  it.each<[string, Record<string, unknown>, string]>([
    ['no name', { name: undefined }, 'name'],
    ['an empty name', { name: ' ' }, 'name'],
    ['a name of two lines', { name: 'a\nb' }, 'name'],
    ['no condition', { condition: undefined }, 'condition'],
    ['a condition that is a text', { condition: 'temperature > 30' }, 'condition'],
    ['an unknown kind', { condition: { kind: 'humid' } }, 'condition.kind'],
    ['an unknown severity', { severity: 'fatal' }, 'severity'],
    ['enabled as a text', { enabled: 'yes' }, 'enabled'],
    ['an unknown operator', { condition: { ...tooWarm, op: '=>' } }, 'condition.op'],
    ['no field', { condition: { ...tooWarm, field: '' } }, 'condition.field'],
    ['an object as a value', { condition: { ...tooWarm, value: {} } }, 'condition.value'],
    ['a text beside >', { condition: { ...tooWarm, value: 'hot' } }, 'condition.value'],
    ['clear_value beyond value', { condition: { ...tooWarm, clear_value: 31 } }, 'condition.clear_value'],
    [
      'clear_value beside ==',
      { condition: { ...tooWarm, op: '==', clear_value: 1 } },
      'condition.clear_value',
    ],
    ['a duration that is none', { condition: { ...tooWarm, for: '5 minutes' } }, 'condition.for'],
    ['a duration of nothing', { condition: { ...tooWarm, clear_for: '0s' } }, 'condition.clear_for'],
    ['a duration in months', { condition: { kind: 'no_data', for: '1mo' } }, 'condition.for'],
    ['no duration', { condition: { kind: 'no_data' } }, 'condition.for'],
    ['a count of 0', { condition: { kind: 'warnings', count: 0, within: '1h' } }, 'condition.count'],
    ['half a count', { condition: { kind: 'dead_letters', count: 1.5, within: '1h' } }, 'condition.count'],
    ['a window of 8 days', { condition: { kind: 'warnings', count: 1, within: '8d' } }, 'condition.within'],
    ['a device that is none', { target: { device_id: 999_999 } }, 'target.device_id'],
    ['an id as a text', { target: { device_id: '1' } }, 'target.device_id'],
    ['a misspelt part of the target', { target: { devicetype: 'sensor' } }, 'target.devicetype'],
    ['an empty type', { target: { device_type: '' } }, 'target.device_type'],
    ['a selector that is none', { target: { selector: 'site=' + '&' } }, 'target.selector'],
    ['a target that is a list', { target: [] }, 'target'],
  ])('is refused with %s', async (_what, change, path) => {
    const before = await functions.call('admin-alert-rules', 'GET', ruleAddress, { admin: true })
    const { status, json } = await create(functions, { name: 'a', condition: tooWarm, ...change })
    expect([status, json.error?.code]).toEqual([422, 'VALIDATION_FAILED'])
    expect(json.error.details).toContainEqual({ path, message: expect.stringMatching(/\w/) })
    const after = await functions.call('admin-alert-rules', 'GET', ruleAddress, { admin: true })
    expect(after.json.total_rules).toBe(before.json.total_rules)
  })

  it('names every refused field at once', async () => {
    const { json } = await create(functions, { severity: 'fatal', condition: { kind: 'no_data' } })
    expect(json.error.details.map(({ path }: { path: string }) => path).sort()).toEqual([
      'condition.for',
      'name',
      'severity',
    ])
  })
})
