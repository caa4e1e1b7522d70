import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { Fleet } from '../../../lib/alerts/fleet.ts'
import { DeadLetterCounts } from '../../../lib/alerts/letters.ts'
import type { NewRule } from '../../../lib/alerts/rule.ts'
import { AlertSweep } from '../../../lib/alerts/sweep.ts'
import { createLog } from '../../../lib/log.ts'
import type { Leases } from '../../../lib/registry/leases.ts'
import { createLeases } from '../../../lib/registry/leases.ts'
import * as runtime from '../../../lib/runtime.ts'
import { database } from '../../../lib/runtime-embedded.ts'
import { TimedAlerts } from '../../../lib/telemetry/embedded/timed-alerts.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(noon)
  functions = await openFunctions()
})
afterAll(async () => {
  vi.useRealTimers()
  await functions.close()
})

/** A process of its own on the same databases. */
const instance = async (leases: Leases) => {
  const { db } = await runtime.registry()
  const alerts = new TimedAlerts(await database())
  return new AlertSweep({
    alerts,
    fleet: new Fleet({ db, offlineAfterS: 300, patienceMs: 0 }),
    letters: new DeadLetterCounts(db, alerts),
    leases,
    log: createLog('silent'),
    flush: async () => {},
  })
}

const rule = async (name: string, condition: NewRule['condition'], target: NewRule['target'] = {}) =>
  (await runtime.alerts()).createRule({ name, enabled: true, severity: 'warning', target, condition })

const fill = async (devices: number, type: string) => {
  const { db } = await runtime.registry()
  await db.run(sql`with recursive n(value) as (select 1 union all select value + 1 from n where value < ${devices})
    insert into devices (name, device_type, created_at, updated_at)
    select ${type} || value, ${type}, ${Date.now()}, ${Date.now()} from n`)
}

it('two processes at the same time open each alert once, also without a lease', async () => {
  await fill(1700, 'quiet ')
  const silent = await rule('silent', { kind: 'no_data', for: '1m' }, { device_type: 'quiet ' })
  vi.setSystemTime(noon + 90_000)
  const free: Leases = { take: async () => true, release: async () => {} }
  const [one, other] = [await instance(free), await instance(free)]
  await Promise.all([one.run(), other.run(), one.run()])
  const alerts = await runtime.alerts()
  const { total, alerts: found } = await alerts.list({ ruleId: silent.id, limit: 5000 })
  expect(total).toBe(1700)
  expect(new Set(found.map(({ deviceId }) => deviceId)).size).toBe(1700)
  expect(new Set(found.map(({ openedAt }) => openedAt))).toEqual(
    new Set([BigInt(noon + 60_000) * 1_000_000n]),
  )
  await Promise.all([one.run(), other.run()])
  expect((await alerts.list({ ruleId: silent.id, limit: 1 })).total).toBe(1700)
  await alerts.deleteRule(silent.id)
})

it('one process at a time looks at the fleet; another one goes on when it has ended', async () => {
  const { db } = await runtime.registry()
  const [one, other] = ['a', 'b'].map((holder) => createLeases({ db, holder }))
  const silent = await rule('silent', { kind: 'no_data', for: '1m' }, { device_type: 'quiet ' })
  const waiting = await instance(other as Leases)
  expect(await (one as Leases).take('alerts-sweep', 20_000)).toBe(true)
  await waiting.run()
  expect((await (await runtime.alerts()).list({ ruleId: silent.id, limit: 1 })).total).toBe(0)
  vi.setSystemTime(Date.now() + 20_001)
  await waiting.run()
  expect((await (await runtime.alerts()).list({ ruleId: silent.id, limit: 1 })).total).toBe(1700)
  await (await runtime.alerts()).deleteRule(silent.id)
})

it('rules about one device each need no look at the others', async () => {
  const { db } = await runtime.registry()
  const fleet = new Fleet({ db, offlineAfterS: 300, patienceMs: 0 })
  const after = vi.fn(fleet.after.bind(fleet))
  const alerts = new TimedAlerts(await database())
  const device = await functions.register()
  for (let made = 0; made < 3; made += 1)
    await rule(`one ${made}`, { kind: 'no_data', for: '1m' }, { device_id: device.id })
  vi.setSystemTime(Date.now() + 90_000)
  const sweep = new AlertSweep({
    alerts,
    fleet: { after, these: fleet.these.bind(fleet), blocks: fleet.blocks.bind(fleet) },
    letters: new DeadLetterCounts(db, alerts),
    leases: { take: async () => true, release: async () => {} },
    log: createLog('silent'),
    flush: async () => {},
  })
  await sweep.run()
  expect(after).not.toHaveBeenCalled()
  const { total } = await (await runtime.alerts()).list({ deviceId: device.id, limit: 1 })
  expect(total).toBe(3)
})

it('dead letters that two processes read are counted once', async () => {
  const { db } = await runtime.registry()
  const alerts = new TimedAlerts(await database())
  const [one, other] = [new DeadLetterCounts(db, alerts), new DeadLetterCounts(db, alerts)]
  await one.count(true)
  const letters = await runtime.deadLetters()
  const device = await functions.register()
  for (let made = 0; made < 5; made += 1)
    await letters.keep({
      deviceId: device.id,
      topic: 't',
      payload: Buffer.from('{'),
      reason: 'is no JSON',
      receivedAt: Date.now(),
      messageId: `m${made}`,
    })
  await Promise.all([one.count(true), other.count(true)])
  const counts = [{ kind: 'dead_letters', since: Date.now() - 60_000 } as const]
  const facts = await alerts.facts([device.id], { arrivals: false, counts })
  expect(facts.counts).toEqual([new Map([[device.id, 5]])])
})

it.each([
  ['every 10 s while a look costs little', 50, 12],
  ['in 1 % of the time', 300, 5],
  ['at least every minute', 5000, 3],
])('looks at the fleet %s', async (_name, costMs, looks) => {
  const { db } = await runtime.registry()
  const alerts = new TimedAlerts(await database())
  const offline = await rule('offline', { kind: 'offline' })
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] })
  let found = 0
  const sweep = new AlertSweep({
    alerts,
    fleet: new Fleet({ db, offlineAfterS: 300, patienceMs: 0 }),
    letters: new DeadLetterCounts(db, alerts),
    leases: { take: async () => true, release: async () => {} },
    log: createLog('silent'),
    // The time of a look passes here.
    flush: async () => {
      found += 1
      vi.advanceTimersByTime(costMs)
    },
  })
  sweep.start()
  for (let passed = 0; passed < 120_000; passed += 1000) {
    vi.advanceTimersByTime(1000)
    // It waits for the look.
    await sweep.tick()
  }
  await sweep.close()
  vi.useRealTimers()
  await (await runtime.alerts()).deleteRule(offline.id)
  expect(Math.abs(found - looks)).toBeLessThanOrEqual(1)
})
