import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly } from '../admin/refusals.ts'
import { cancelFleet, sent, showFleet } from './fleet-requests.ts'
import { answer } from './requests.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

describe('cancelling a fleet command', () => {
  itIsForAdminsOnly(
    () => functions,
    async (options) => {
      const { id } = await functions.register()
      return cancelFleet(functions, await sent(functions, [id]), options)
    },
  )

  it('ends what has not ended, and a late answer changes nothing', async () => {
    const [one, other] = [await functions.register(), await functions.register()]
    const id = await sent(functions, [one.id, other.id])
    const { commands } = (await showFleet(functions, id)).json
    await answer(functions, one.key, commands[0].command_id, { status: 'succeeded' })
    const cancelled = await cancelFleet(functions, id)
    expect([cancelled.status, cancelled.json]).toMatchObject([
      200,
      {
        message: 'Fleet command cancelled',
        fleet_command: {
          status: 'cancelled',
          finished_at: expect.any(String),
          progress: { succeeded: 1, cancelled: 1, queued: 0 },
        },
      },
    ])
    await answer(functions, other.key, commands[1].command_id, { status: 'succeeded' })
    expect((await showFleet(functions, id)).json.fleet_command.progress).toMatchObject({ cancelled: 1 })
    expect((await cancelFleet(functions, id)).status).toBe(200)
  })

  it('answers 409 when it is finished, and 404 when it is unknown', async () => {
    const { id: device, key } = await functions.register()
    const id = await sent(functions, [device])
    const { commands } = (await showFleet(functions, id)).json
    await answer(functions, key, commands[0].command_id, { status: 'succeeded' })
    await functions.invoke('commands-fleet-advance', {})
    const answered = await cancelFleet(functions, id)
    expect([answered.status, answered.json.error.message]).toEqual([
      409,
      'The fleet command has ended already: it is finished.',
    ])
    expect((await cancelFleet(functions, 'unknown')).status).toBe(404)
  })
})
