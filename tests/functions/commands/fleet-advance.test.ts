import { afterAll, beforeAll, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { sent, showFleet } from './fleet-requests.ts'
import { answer } from './requests.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

it('goes on with fleet commands: the canaries have answered, and the others get it', async () => {
  const devices = [await functions.register(), await functions.register(), await functions.register()]
  const id = await sent(
    functions,
    devices.map(({ id }) => id),
    { canary: 1 },
  )
  const [canary, ...others] = (await showFleet(functions, id)).json.commands
  expect(others).toEqual([])
  const key = devices.find(({ id }) => id === canary.device_id)?.key ?? ''
  await answer(functions, key, canary.command_id, { status: 'succeeded' })
  await functions.invoke('commands-fleet-advance', {})
  expect((await showFleet(functions, id)).json.commands).toHaveLength(3)
  for (const { device_id, command_id } of (await showFleet(functions, id, '?status=queued')).json.commands)
    await answer(functions, devices.find(({ id }) => id === device_id)?.key ?? '', command_id, {
      status: 'succeeded',
    })
  await functions.invoke('commands-fleet-advance', {})
  expect((await showFleet(functions, id)).json.fleet_command).toMatchObject({
    status: 'finished',
    progress: { succeeded: 3 },
  })
})

it('has nothing to do where there are none', async () => {
  expect(await functions.invoke('commands-fleet-advance', {})).toBeUndefined()
})
