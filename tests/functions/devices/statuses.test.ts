import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly } from '../admin/refusals.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const statuses = (query = '', options: Parameters<TestFunctions['call']>[3] = { admin: true }) =>
  functions.call('devices-statuses', 'GET', `/api/v1/devices/statuses${query}`, options)

describe('the states of all devices', () => {
  itIsForAdminsOnly(
    () => functions,
    (options) => statuses('', options),
  )

  it('are listed in short, with the number of devices', async () => {
    const quiet = await functions.register({ device_type: 'pump' })
    const seen = await functions.register()
    await functions.call('devices-heartbeat', 'POST', '/api/v1/devices/heartbeat', { key: seen.key })
    const { status, json } = await statuses()
    expect(status).toBe(200)
    expect(json).toMatchObject({ status: 'success', meta: { limit: 100, offset: 0 } })
    expect(json.meta.total).toBe(json.devices.length)
    expect(json.devices.slice(-2)).toEqual([
      { id: quiet.id, name: quiet.name, device_type: 'pump', status: 'active', is_online: false },
      { id: seen.id, name: seen.name, device_type: 'sensor', status: 'active', is_online: true },
    ])
  })

  it('come in pages of a limit behind an offset', async () => {
    for (let n = 0; n < 3; n += 1) await functions.register()
    const all = (await statuses()).json.devices
    const page = (await statuses('?limit=2&offset=1')).json
    expect(page.devices).toEqual(all.slice(1, 3))
    expect(page.meta).toEqual({ total: all.length, limit: 2, offset: 1 })
    expect((await statuses('?offset=1000')).json.devices).toEqual([])
    expect((await statuses('?limit=5000&offset=')).json.meta).toMatchObject({ limit: 1000, offset: 0 })
  })

  it.each(['limit=0', 'limit=x', 'offset=-1', 'offset=1.5'])('are refused with ?%s', async (query) => {
    const { status, json } = await statuses(`?${query}`)
    expect([status, json.error.details[0].path]).toEqual([422, query.split('=')[0]])
  })
})
