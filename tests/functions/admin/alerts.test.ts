import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { alertAddress, alerts, openAlert, ruleOf, send, tooWarm } from './alert-requests.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions({}, undefined, { longRunning: true })
})
afterAll(() => functions.close())

const list = (query = '', options: CallOptions = { admin: true }) =>
  functions.call('admin-alerts', 'GET', `${alertAddress}${query}`, options)

describe('the list of alerts', () => {
  itIsForAdminsOnly(
    () => functions,
    (options) => list('', options),
  )

  it('is empty at first, and then says what is open', async () => {
    expect((await list()).json).toEqual({
      status: 'success',
      total_alerts: 0,
      open: { critical: 0, warning: 0, info: 0 },
      alerts: [],
    })
    const { device, ruleId, alertId } = await openAlert(functions, { severity: 'critical' })
    await send(functions, device.key, { temperature: 33 })
    expect((await list()).json).toEqual({
      status: 'success',
      total_alerts: 1,
      open: { critical: 1, warning: 0, info: 0 },
      alerts: [
        {
          id: alertId,
          rule_id: ruleId,
          rule_name: 'Too warm',
          severity: 'critical',
          device_id: device.id,
          device_name: device.name,
          state: 'open',
          kind: 'threshold',
          condition: tooWarm,
          opened_at: expect.stringMatching(/Z$/),
          opened_value: 31,
          last_value: 33,
          last_at: expect.stringMatching(/Z$/),
          cleared_at: null,
          clear_reason: null,
          acknowledged_at: null,
          acknowledged_note: null,
        },
      ],
    })
    await send(functions, device.key, { temperature: 25 })
    expect((await list()).json).toMatchObject({
      open: { critical: 0 },
      alerts: [{ state: 'cleared', clear_reason: 'condition', last_value: 25 }],
    })
  })

  it('is filtered by state, severity, device and rule', async () => {
    const one = await openAlert(functions, { severity: 'info' })
    const two = await openAlert(functions, { severity: 'warning' })
    const path = `${alertAddress}/${two.alertId}/acknowledge`
    await functions.call('admin-acknowledge-alert', 'POST', path, { admin: true })
    const ids = async (query: string) =>
      (await alerts(functions, query)).map(({ id }: { id: number }) => id).slice(0, 1)
    expect(await ids('?severity=info')).toEqual([one.alertId])
    expect(await ids('?state=open')).toEqual([one.alertId])
    expect(await ids('?state=acknowledged')).toEqual([two.alertId])
    expect(await ids(`?device_id=${two.device.id}`)).toEqual([two.alertId])
    expect(await ids(`?rule_id=${two.ruleId}&device_id=${one.device.id}`)).toEqual([])
    expect((await list(`?device_id=${two.device.id}`)).json.total_alerts).toBe(1)
    expect((await list('?device_id=999999')).json).toMatchObject({ total_alerts: 0, alerts: [] })
  })

  it('comes in pages, newest first, each alert once', async () => {
    const rule = await ruleOf(functions, { target: { device_type: 'page' } })
    const devices = await Promise.all(
      Array.from({ length: 7 }, () => functions.register({ device_type: 'page' })),
    )
    for (const { key } of devices) await send(functions, key, { temperature: 31 })
    const found: number[] = []
    let pages = 0
    for (let cursor = ''; ; ) {
      const { json } = await list(`?rule_id=${rule}&limit=3${cursor}`)
      found.push(...json.alerts.map(({ device_id }: { device_id: number }) => device_id))
      expect(json.total_alerts).toBe(7)
      pages += 1
      if (json.next_cursor === undefined) break
      cursor = `&cursor=${json.next_cursor}`
    }
    expect(found).toEqual(devices.map(({ id }) => id).reverse())
    expect(pages).toBe(3)
  })

  it.each(['state=closed', 'severity=high', 'device_id=x', 'rule_id=-1', 'limit=0', 'cursor=a'])(
    'refuses ?%s',
    async (query) => {
      const { status, json } = await list(`?${query}`)
      expect([status, json.error.details[0].path]).toEqual([422, query.split('=')[0]])
    },
  )
})
