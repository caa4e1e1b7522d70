import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly } from '../admin/refusals.ts'
import { fleetAddress, sent, showFleet } from './fleet-requests.ts'
import { answer, cancel } from './requests.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

describe('a fleet command', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => {
      const { id } = await functions.register()
      const address = `${fleetAddress}/${await sent(functions, [id])}`
      return functions.call('commands-fleet-show', 'GET', address, options)
    },
  )

  it('shows what it is, and the commands of its devices', async () => {
    const [one, other] = [await functions.register(), await functions.register()]
    const id = await sent(functions, [one.id, other.id], { rate_per_s: 1000, abort: { failed_share: 0.5 } })
    const { status, json } = await showFleet(functions, id)
    expect(status).toBe(200)
    expect(json.fleet_command).toEqual({
      fleet_command_id: id,
      command: 'ping',
      params: null,
      channel: null,
      max_attempts: 1,
      filter: { ids: [one.id, other.id] },
      rate_per_s: 1000,
      canaries: 0,
      canary_wait_s: null,
      abort: { failed_share: 0.5, min_results: 10 },
      status: 'running',
      reason: null,
      targets: 2,
      progress: {
        queued: 2,
        sent: 0,
        acknowledged: 0,
        succeeded: 0,
        failed: 0,
        expired: 0,
        cancelled: 0,
        skipped: 0,
      },
      issued_at: expect.any(String),
      expires_at: expect.any(String),
      finished_at: null,
    })
    expect(json.commands).toMatchObject([
      { device_id: one.id, status: 'queued', fleet_command_id: id },
      { device_id: other.id, status: 'queued', fleet_command_id: id },
    ])
  })

  it('counts answers and cancellations, and lists the devices in one state', async () => {
    const devices = [await functions.register(), await functions.register(), await functions.register()]
    const [first, second, third] = devices as [(typeof devices)[0], (typeof devices)[0], (typeof devices)[0]]
    const id = await sent(
      functions,
      devices.map(({ id }) => id),
    )
    const { commands } = (await showFleet(functions, id)).json
    await answer(functions, first.key, commands[0].command_id, { status: 'succeeded', result: 1 })
    await answer(functions, second.key, commands[1].command_id, { status: 'failed' })
    await cancel(functions, third.id, commands[2].command_id)
    expect((await showFleet(functions, id)).json.fleet_command.progress).toMatchObject({
      queued: 0,
      succeeded: 1,
      failed: 1,
      cancelled: 1,
    })
    const failed = (await showFleet(functions, id, '?status=failed')).json.commands
    expect(failed).toMatchObject([{ device_id: second.id, status: 'failed' }])
    const page = await showFleet(functions, id, '?limit=2')
    const rest = await showFleet(functions, id, `?limit=2&cursor=${page.json.next_cursor}`)
    expect([...page.json.commands, ...rest.json.commands].map(({ device_id }) => device_id)).toEqual(
      devices.map(({ id }) => id),
    )
    expect(rest.json.next_cursor).toBeUndefined()
  })

  it.each(['unknown', '1', '%00'])('answers 404 for the id %s', async (id) => {
    const { status, json } = await showFleet(functions, id)
    expect([status, json.error.message]).toEqual([404, 'There is no such fleet command.'])
  })
})
