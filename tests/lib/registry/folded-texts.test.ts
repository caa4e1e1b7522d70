import { sql } from 'drizzle-orm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { foldText } from '../../../lib/registry/folded-texts.ts'
import { pump, startDevices } from '../../support/devices.ts'
import { describeRegistry } from '../../support/registry.ts'

describe('a folded text', () => {
  it('is the same for upper and lower case, and for composed and decomposed letters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const folded = foldText(text)
        expect(foldText(folded)).toBe(folded)
        expect(foldText(text.normalize('NFD'))).toBe(folded)
        // Upper case writes the iota below a letter of ancient Greek beside it.
        if (!text.normalize('NFD').includes('\u0345')) expect(foldText(text.toUpperCase())).toBe(folded)
      }),
    )
  })
})

describeRegistry('texts of earlier versions', (place) => {
  it('are folded by the migration, and names that only look different stay apart', async () => {
    const { connect } = await startDevices(place)
    const { devices, registry } = await connect()
    const names = [
      'CAFÉ',
      'Cafe\u0301',
      'Café',
      'Ku\u0308che',
      ...Array.from({ length: 600 }, (_, n) => `Ä${n}`),
    ]
    const rows = JSON.stringify(names)
    // As a version without folded texts wrote them.
    await registry.db.run(sql`insert into devices (name, location, device_type, created_at, updated_at)
      select value, 'Küche', 'sensor', 0, 0 from json_each(${rows})`)
    const found = async (q: string) => (await devices.list({ limit: 10, q })).devices.map(({ name }) => name)
    expect(await found('Ä599')).toEqual([])
    await registry.migrate()
    await registry.migrate()
    expect(await found('ä599')).toEqual(['Ä599'])
    expect(await found('café')).toEqual(['CAFÉ', 'Cafe\u0301', 'Café'])
    expect((await devices.list({ limit: 1, q: 'KÜCHE' })).total).toBe(names.length)
    await expect(devices.register({ ...pump, name: 'Küche' })).rejects.toMatchObject({ code: 'CONFLICT' })
  })
})
