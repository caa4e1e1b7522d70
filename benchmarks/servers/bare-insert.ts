/** The floor of registration: inserts into the registry's table one after the other, each durable before the next. */
import { join } from 'node:path'
import { openRegistry } from '../../lib/registry/db.ts'
import { devices } from '../../lib/registry/schema.ts'
import { serve } from '../process.ts'

/** The answer to the question `insert`: milliseconds of each insert. */
export type InsertTimes = readonly number[]

serve(async () => {
  const registry = await openRegistry({ url: `file:${join(process.argv[2] ?? '', 'floor.db')}` })
  await registry.migrate()
  let count = 0
  const insert = async (seconds: number): Promise<InsertTimes> => {
    const times: number[] = []
    const end = performance.now() + seconds * 1000
    for (let now = performance.now(); now < end; ) {
      count += 1
      const at = Date.now()
      await registry.db.insert(devices).values({
        name: `device-${count}`,
        deviceType: 'bench_sensor',
        location: 'Living Room',
        createdAt: at,
        updatedAt: at,
      })
      const after = performance.now()
      times.push(after - now)
      now = after
    }
    return times
  }
  return { facts: {}, ask: (_question, seconds) => insert(seconds), end: async () => registry.close() }
})
