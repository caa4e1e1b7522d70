/** Requests about alerts, for the tests of the functions that have to do with them. */
import type { Answer, TestFunctions } from '../../support/functions.ts'

export const ruleAddress = '/api/v1/admin/alert-rules'
export const alertAddress = '/api/v1/admin/alerts'

export const tooWarm = { kind: 'threshold', field: 'temperature', op: '>', value: 30 }

export const create = (functions: TestFunctions, body: unknown): Promise<Answer> =>
  functions.call('admin-create-alert-rule', 'POST', ruleAddress, { admin: true, body })

/** Makes a rule. @returns its id. */
export async function ruleOf(functions: TestFunctions, body: object = {}): Promise<number> {
  const answer = await create(functions, { name: 'Too warm', condition: tooWarm, ...body })
  if (answer.status !== 201) throw new Error(`the rule was refused: ${answer.text}`)
  return answer.json.rule.id
}

/** The alerts of a query, newest first. */
export const alerts = async (functions: TestFunctions, query = '') => {
  const { json } = await functions.call('admin-alerts', 'GET', `${alertAddress}${query}`, { admin: true })
  return json.alerts
}

export const send = (functions: TestFunctions, key: string, body: unknown): Promise<Answer> =>
  functions.call('telemetry-submit', 'POST', '/api/v1/telemetry', { key, body })

/** Makes a rule and an alert of it. */
export async function openAlert(functions: TestFunctions, rule: object = {}) {
  const device = await functions.register()
  const ruleId = await ruleOf(functions, { target: { device_id: device.id }, ...rule })
  await send(functions, device.key, { temperature: 31 })
  const [alert] = await alerts(functions, `?rule_id=${ruleId}`)
  return { device, ruleId, alertId: alert.id as number }
}
