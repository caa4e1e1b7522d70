import { afterAll, beforeAll, expect, it } from 'vitest'
import * as runtime from '../../../lib/runtime.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const list = async (query = '') =>
  (await functions.call('admin-deletions', 'GET', `/api/v1/admin/deletions${query}`, { admin: true })).json

it('lists large deletions in pages, newest first', async () => {
  expect(await list()).toEqual({ status: 'success', deletions: [] })
  const { id } = await functions.register()
  const deletions = await runtime.deletions()
  const ids: number[] = []
  for (const to of [1n, 2n, 3n]) ids.push(await deletions.create(id, { from: 0n, to }))
  const [first, second, third] = ids
  const page = await list('?limit=2')
  expect(page.deletions.map((one: { deletion_id: number }) => one.deletion_id)).toEqual([third, second])
  expect(page.deletions[0]).toMatchObject({ device_id: id, start_time: '1970-01-01T00:00:00Z' })
  const last = await list(`?limit=2&cursor=${page.next_cursor}`)
  expect(last.deletions).toMatchObject([{ deletion_id: first }])
  expect(last.next_cursor).toBeUndefined()
})
