import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { sweepCommands } from '../../../functions/commands/sweep.ts'
import { createLog } from '../../../lib/log.ts'
import { createLeases } from '../../../lib/registry/leases.ts'
import * as runtime from '../../../lib/runtime.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { created } from './requests.ts'

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(Date.parse('2026-03-01T12:00:00Z'))
  functions = await openFunctions()
})
afterAll(async () => {
  vi.useRealTimers()
  await functions.close()
})

it('the sweep writes that commands have expired', async () => {
  const { id } = await functions.register()
  const commandId = await created(functions, id, { command: 'a', ttl_s: 1 })
  vi.setSystemTime(Date.now() + 1000)
  await functions.invoke('commands-sweep', {})
  const { db } = await runtime.registry()
  const [row] = await db.all(sql`select status from commands where command_id = ${commandId}`)
  expect(row).toEqual({ status: 'expired' })
})

it('the sweep runs in one process at a time, and in the next one after a failure', async () => {
  const { db } = await runtime.registry()
  let runs = 0
  const process = (holder: string, sweep: () => Promise<void>) =>
    sweepCommands({ log: createLog('silent'), leases: createLeases({ db, holder }), commands: { sweep } })
  const other = process('b', async () => void runs++)
  const failing = process('a', async () => {
    await other({})
    throw new Error('broken')
  })
  await expect(failing({})).rejects.toThrow('broken')
  expect(runs).toBe(0)
  await other({})
  expect(runs).toBe(1)
})
