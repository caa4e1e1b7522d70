import { afterAll, beforeAll, expect, it } from 'vitest'
import * as runtime from '../../../lib/runtime.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const show = (id: number | string) =>
  functions.call('admin-show-deletion', 'GET', `/api/v1/admin/deletions/${id}`, { admin: true })

it('shows how far a deletion is', async () => {
  const { id } = await functions.register()
  const deletions = await runtime.deletions()
  const deletionId = await deletions.create(id, { from: 0n, to: 1_000_000_000n })
  expect((await show(deletionId)).json.deletion).toMatchObject({
    device_id: id,
    stop_time: '1970-01-01T00:00:01Z',
    state: 'running',
    deleted: 0,
    progress: 0,
  })
  await deletions.next(deletionId)
  expect((await show(deletionId)).json.deletion).toMatchObject({ state: 'finished', progress: 1 })
})

it('answers 404 for one that there is not', async () => {
  for (const id of [999_999, 'abc']) expect((await show(id)).status).toBe(404)
})
