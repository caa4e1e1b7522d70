import { expect, it, onTestFinished } from 'vitest'
import { openRegistry } from '../../../lib/registry/db.ts'
import { createLeases } from '../../../lib/registry/leases.ts'
import { describeRegistry } from '../../support/registry.ts'

describeRegistry('a lease', (place) => {
  const start = async (holders: readonly string[]) => {
    const { url, remove } = await place()
    const clock = { now: 1000 }
    const registries = await Promise.all(holders.map(() => openRegistry({ url })))
    onTestFinished(async () => {
      for (const registry of registries) registry.close()
      await remove()
    })
    await registries[0]?.migrate()
    const now = () => clock.now
    const leases = registries.map(({ db }, i) => createLeases({ db, holder: holders[i] ?? '', now }))
    return { clock, leases }
  }

  it('is held by one of the processes that take it at the same time', async () => {
    const { leases } = await start(['a', 'b', 'c', 'd'])
    const taken = await Promise.all(leases.map((lease) => lease.take('work', 1000)))
    expect(taken.filter((held) => held)).toHaveLength(1)
  })

  it('stays with its holder until it expires, and longer when it is renewed', async () => {
    const { clock, leases } = await start(['a', 'b'])
    const [a, b] = leases as [(typeof leases)[0], (typeof leases)[0]]
    expect(await a.take('work', 1000)).toBe(true)
    clock.now += 999
    expect(await b.take('work', 1000)).toBe(false)
    expect(await b.take('other work', 1000)).toBe(true)
    expect(await a.take('work', 1000)).toBe(true)
    clock.now += 999
    expect(await b.take('work', 1000)).toBe(false)
    clock.now += 1
    expect(await b.take('work', 1000)).toBe(true)
    expect(await a.take('work', 1000)).toBe(false)
  })

  it('is free at once when its holder releases it, and only then', async () => {
    const { leases } = await start(['a', 'b'])
    const [a, b] = leases as [(typeof leases)[0], (typeof leases)[0]]
    await a.take('work', 1000)
    await b.release('work')
    expect(await b.take('work', 1000)).toBe(false)
    await a.release('work')
    expect(await b.take('work', 1000)).toBe(true)
  })

  it('of a process whose clock was far ahead holds nobody up once the clock is right', async () => {
    const { clock, leases } = await start(['a', 'b'])
    const [a, b] = leases as [(typeof leases)[0], (typeof leases)[0]]
    clock.now += 60_001
    await a.take('work', 1000)
    clock.now -= 1
    expect(await b.take('work', 1000)).toBe(false)
    clock.now -= 60_000
    expect(await b.take('work', 1000)).toBe(true)
  })
})
