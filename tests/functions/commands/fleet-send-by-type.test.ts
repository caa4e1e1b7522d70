import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { showFleet } from './fleet-requests.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const send = (type: string, body: unknown = { command: 'reboot' }, admin = true) =>
  functions.call('commands-fleet-send-by-type', 'POST', `/api/v1/mqtt/fleet/${type}/command`, { body, admin })

describe('a command to the devices of a type, under the name of the predecessor', () => {
  it('is refused without the admin token', async () => {
    expect((await send('pump', undefined, false)).status).toBe(401)
  })

  it('is a fleet command to this type', async () => {
    const { id } = await functions.register({ device_type: 'heat pump' })
    await functions.register({ device_type: 'valve' })
    const answer = await send('heat%20pump', { command: 'reboot', params: { delay: 1 }, rate_per_s: 5 })
    expect([answer.status, answer.json.targets]).toEqual([202, 1])
    const { json } = await showFleet(functions, answer.json.fleet_command_id)
    expect(json.fleet_command).toMatchObject({ filter: { device_type: 'heat pump' }, rate_per_s: 5 })
    expect(json.commands).toMatchObject([{ device_id: id, command: 'reboot', params: { delay: 1 } }])
  })

  it('answers 404 for a type that no device has', async () => {
    const answer = await send('nothing')
    expect([answer.status, answer.json.error.message]).toEqual([
      404,
      'There is no device of this type that may connect.',
    ])
  })

  it('is refused without a command', async () => {
    expect((await send('pump', {})).status).toBe(422)
  })
})
