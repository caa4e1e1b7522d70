import { expect, it } from 'vitest'
import { openRegistry } from '../../../lib/registry/db.ts'
import { describeRegistry } from '../../support/registry.ts'

describeRegistry('migrations', (place) => {
  it('are carried out once by instances that start together, and again by none', async () => {
    const { url, remove } = await place()
    const registries = await Promise.all(Array.from({ length: 6 }, () => openRegistry({ url })))
    const [first] = registries
    const count = async () =>
      (await first?.db.$client.execute('SELECT count(*) AS n FROM __drizzle_migrations'))?.rows[0]?.n
    try {
      await Promise.all(registries.map((registry) => registry.migrate()))
      const once = await count()
      expect(once).toBeGreaterThan(0)
      await first?.migrate()
      expect(await count()).toBe(once)
    } finally {
      for (const registry of registries) registry.close()
      await remove()
    }
  })
})
