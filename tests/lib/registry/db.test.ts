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

  it('index and count the devices that there are, also those whose texts are not folded yet', async () => {
    const { url, remove } = await place()
    const registry = await openRegistry({ url })
    const { $client: client } = registry.db
    const rows = async (sql: string) =>
      (await client.execute(sql)).rows.map((row) => Array.from({ length: row.length }, (_, at) => row[at]))
    try {
      await registry.migrate()
      // As the version before left it.
      for (const of of ['device_counts', 'device_texts']) {
        for (const when of ['inserted', 'updated', 'deleted'])
          await client.execute(`DROP TRIGGER ${of}_${when}`)
        await client.execute(`DROP TABLE ${of}`)
      }
      await client.execute('DROP TABLE device_texts_begin')
      await client.execute(
        'DELETE FROM __drizzle_migrations WHERE created_at = (SELECT max(created_at) FROM __drizzle_migrations)',
      )
      await client.execute(`INSERT INTO devices
          (id, name, name_folded, description, description_folded, status, device_type, created_at, updated_at) VALUES
        (1, 'Pump', 'pump', NULL, NULL, 'active', 'pump', 0, 0),
        (2, 'Ku\u0308che', NULL, 'Über dem Herd', NULL, 'inactive', 'sensor', 0, 0),
        (3, 'Pumpe', 'pumpe', 'gone', 'gone', 'active', 'pump', 0, 0)`)
      // More than one page.
      await client.execute(`WITH RECURSIVE n(i) AS (SELECT 4 UNION ALL SELECT i + 1 FROM n WHERE i < 10010)
        INSERT INTO devices (id, name, name_folded, device_type, created_at, updated_at)
        SELECT i, 'crowd ' || i, 'crowd ' || i, 'crowd', 0, 0 FROM n`)
      await registry.migrate()
      const found = (text: string) =>
        rows(`SELECT rowid FROM device_texts WHERE device_texts MATCH '"${text}"'`)
      expect(await found('pump')).toEqual([[1], [3]])
      expect(await found('crowd')).toHaveLength(10_007)
      expect(await found('küche')).toEqual([[2]])
      expect(await found('über')).toEqual([[2]])
      await client.execute('DELETE FROM devices WHERE id = 3')
      expect(await found('gone')).toEqual([])
      expect(await rows('SELECT * FROM device_counts ORDER BY status, device_type')).toEqual([
        ['active', 'crowd', 10_007],
        ['active', 'pump', 1],
        ['inactive', 'sensor', 1],
      ])
      await client.execute(`INSERT INTO device_texts (device_texts) VALUES ('integrity-check')`)
    } finally {
      registry.close()
      await remove()
    }
  })
})
