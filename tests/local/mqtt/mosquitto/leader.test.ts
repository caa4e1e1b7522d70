import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createLog } from '../../../../lib/log.ts'
import { openRegistry, type Registry } from '../../../../lib/registry/db.ts'
import { createLeases, type Leases } from '../../../../lib/registry/leases.ts'
import { type LeaderOptions, startLeader } from '../../../../local/mqtt/mosquitto/leader.ts'
import { describeRegistry, type Place } from '../../../support/registry.ts'
import { eventually } from '../../../support/waiting.ts'

describeRegistry('a lease', (place) => {
  let at: Place
  let registries: Registry[] = []
  let clock = 1_760_000_000_000
  beforeEach(async () => {
    at = await place()
    registries = await Promise.all(Array.from({ length: 5 }, () => openRegistry({ url: at.url })))
    await registries[0]?.migrate()
  })
  afterEach(async () => {
    for (const registry of registries) registry.close()
    await at.remove()
  })
  /** Holders, each with its own connection to the registry. */
  const holders = () =>
    registries.map(({ db }, n) => createLeases({ db, holder: `holder-${n}`, now: () => clock })) as [
      Leases,
      Leases,
      ...Leases[],
    ]

  it('goes to one of the holders that ask at the same time', async () => {
    const all = holders()
    for (let round = 0; round < 5; round += 1) {
      const taken = await Promise.all(all.map((leases) => leases.take('work', 1000)))
      expect(taken.filter(Boolean)).toHaveLength(1)
      clock += 1001
    }
  })

  it('stays with its holder while it is renewed, and goes to another one when it expires', async () => {
    const [one, other] = holders()
    for (let round = 0; round < 3; round += 1) {
      expect(await one.take('work', 1000)).toBe(true)
      clock += 999
      expect(await other.take('work', 1000)).toBe(false)
    }
    clock += 1
    expect(await other.take('work', 1000)).toBe(true)
    expect(await one.take('work', 1000)).toBe(false)
    expect(await one.take('other work', 1000)).toBe(true)
  })

  it('can be given back by its holder only', async () => {
    const [one, other] = holders()
    expect(await one.take('work', 1000)).toBe(true)
    await other.release('work')
    expect(await other.take('work', 1000)).toBe(false)
    await one.release('work')
    expect(await other.take('work', 1000)).toBe(true)
  })
})

const [ttlMs, renewMs] = [600, 100]

describe('the leader', () => {
  /** The lease that all leaders of a test share. */
  let held: { holder: string; until: number } | undefined
  let open: string[]
  const ends: (() => Promise<void>)[] = []
  beforeEach(() => {
    held = undefined
    open = []
  })
  afterEach(async () => {
    for (const end of ends.splice(0)) await end()
  })

  const start = (
    name: string,
    { closeMs = 20, ...options }: Partial<LeaderOptions> & { closeMs?: number } = {},
  ) => {
    const registry = { unavailable: false, hangs: false }
    const reconcile = vi.fn(async () => {})
    const leader = startLeader({
      leases: {
        async take(_, ms) {
          if (registry.unavailable) throw new Error('the registry is unavailable')
          if (registry.hangs) await sleep(5 * ttlMs)
          if (held && held.holder !== name && held.until > performance.now()) return false
          held = { holder: name, until: performance.now() + ms }
          return true
        },
        async release() {
          if (held?.holder === name) held = undefined
        },
      },
      open() {
        // Two bridges with one client id would disconnect each other.
        expect(open).toEqual([])
        open.push(name)
        return {
          ready: Promise.resolve(),
          connected: () => true,
          async close() {
            await sleep(closeMs)
            open = open.filter((one) => one !== name)
          },
        }
      },
      reconcile,
      log: createLog('silent'),
      ttlMs,
      renewMs,
      reconcileMs: 250,
      ...options,
    })
    ends.push(() => leader.close())
    return { leader, registry, reconcile, leads: () => leader.bridge() !== undefined }
  }
  const leading = async (name: string) => eventually(() => expect(open).toEqual([name]))

  it('has the bridge while it has the lease, and reconciles the accounts', async () => {
    const one = start('one')
    await leading('one')
    const other = start('other')
    await sleep(2 * ttlMs)
    expect([one.leads(), other.leads()]).toEqual([true, false])
    expect(other.reconcile).not.toHaveBeenCalled()
    expect(one.reconcile.mock.calls.length).toBeGreaterThanOrEqual(3)
  })

  it('gives the lease back at once when it closes', async () => {
    const one = start('one', { ttlMs: 60_000, closeMs: 2 * renewMs })
    await leading('one')
    start('other', { ttlMs: 60_000 })
    await sleep(renewMs)
    await one.leader.close()
    expect(open).toEqual([])
    await leading('other')
  })

  it.each(['unavailable', 'hangs'] as const)(
    'works on without a registry (%s), and stops before another process can get the lease',
    async (how) => {
      const one = start('one')
      await leading('one')
      start('other', { renewMs: 10 })
      one.registry[how] = true
      await sleep(renewMs * 2)
      expect(open).toEqual(['one'])
      await leading('other')
      one.registry[how] = false
      await sleep(2 * ttlMs)
      expect([one.leads(), open]).toEqual([false, ['other']])
    },
  )

  it('keeps the bridge when the registry is back in time', async () => {
    const one = start('one')
    await leading('one')
    start('other')
    for (let round = 0; round < 4; round += 1) {
      one.registry.unavailable = true
      await sleep(renewMs * 2)
      one.registry.unavailable = false
      await sleep(renewMs * 2)
    }
    expect(open).toEqual(['one'])
  })

  it('works on when the accounts cannot be reconciled', async () => {
    const reconcile = vi.fn(() => Promise.reject(new Error('not now')))
    start('one', { reconcile })
    await eventually(() => expect(reconcile.mock.calls.length).toBeGreaterThan(2))
    expect(open).toEqual(['one'])
  })
})
