import { afterAll, beforeAll, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions({ MQTT_URL: 'none' })
})
afterAll(() => functions.close())

it('the status of MQTT is disabled where there is no broker', async () => {
  const answer = await functions.call('mqtt-status', 'GET', '/api/v1/mqtt/status')
  expect([answer.status, answer.json]).toEqual([
    200,
    { status: 'disabled', broker_info: { connected: false, kind: 'none' } },
  ])
})

it('a configuration is stored and not published where there is no broker', async () => {
  const { id } = await functions.register()
  const { json } = await functions.call('admin-configure', 'PUT', `/api/v1/admin/devices/${id}/config`, {
    admin: true,
    body: { configuration: { a: 1 } },
  })
  expect([json.version, json.published]).toEqual([1, false])
})
