import { expect, it } from 'vitest'
import { publishConfigurations } from '../../../functions/mqtt/publish-configurations.ts'
import { createLog } from '../../../lib/log.ts'

it('ends before the function has to', async () => {
  const ends: number[] = []
  const run = publishConfigurations({
    log: createLog('silent'),
    fleetConfigurations: { run: async (until = 0) => void ends.push(until) },
  })
  const before = Date.now()
  await run()
  expect(ends).toHaveLength(1)
  expect((ends[0] ?? 0) - before).toBeGreaterThanOrEqual(40_000)
  expect((ends[0] ?? 0) - Date.now()).toBeLessThanOrEqual(40_000)
})
