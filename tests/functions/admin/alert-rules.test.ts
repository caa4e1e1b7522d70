import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as runtime from '../../../lib/runtime.ts'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { openAlert, ruleAddress, tooWarm } from './alert-requests.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions({}, undefined, { longRunning: true })
})
afterAll(() => functions.close())

const list = (query = '', options: CallOptions = { admin: true }) =>
  functions.call('admin-alert-rules', 'GET', `${ruleAddress}${query}`, options)

describe('the list of alert rules', () => {
  itIsForAdminsOnly(
    () => functions,
    (options) => list('', options),
  )

  it('has a thousand rules in pages, each of them once', async () => {
    expect((await list()).json).toEqual({ status: 'success', rules: [], total_rules: 0 })
    const alerts = await runtime.alerts()
    for (let made = 1; made <= 1000; made += 1)
      await alerts.createRule({
        name: `rule ${made}`,
        enabled: true,
        severity: 'info',
        target: { device_type: `type ${made}` },
        condition: { ...tooWarm, kind: 'threshold', op: '>' },
      })
    const names: string[] = []
    let pages = 0
    for (let cursor = ''; ; pages += 1) {
      const { json } = await list(`?limit=130${cursor}`)
      expect(json.total_rules).toBe(1000)
      names.push(...json.rules.map(({ name }: { name: string }) => name))
      if (json.next_cursor === undefined) break
      cursor = `&cursor=${json.next_cursor}`
    }
    expect(names).toEqual(Array.from({ length: 1000 }, (_, at) => `rule ${at + 1}`))
    expect(pages).toBe(7)
    const { json } = await list('?limit=5000')
    expect([json.rules.length, json.next_cursor]).toEqual([1000, undefined])
  })

  it('counts the open alerts of each', async () => {
    const { ruleId } = await openAlert(functions)
    const { json } = await list(`?cursor=${ruleId - 1}`)
    expect(json.rules).toMatchObject([{ id: ruleId, open_alerts: 1 }])
  })

  it.each(['limit=0', 'limit=x', 'cursor=x'])('refuses ?%s', async (query) => {
    const { status, json } = await list(`?${query}`)
    expect([status, json.error.details[0].path]).toEqual([422, query.split('=')[0]])
  })
})
