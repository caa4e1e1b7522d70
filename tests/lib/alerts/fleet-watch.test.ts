/** A sweep that looks only at what is new must find what a look at every device finds. */

import { sql } from 'drizzle-orm'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { Fleet, idsPerBlock } from '../../../lib/alerts/fleet.ts'
import { DeadLetterCounts } from '../../../lib/alerts/letters.ts'
import type { NewRule } from '../../../lib/alerts/rule.ts'
import { AlertSweep } from '../../../lib/alerts/sweep.ts'
import { createLog } from '../../../lib/log.ts'
import type { Leases } from '../../../lib/registry/leases.ts'
import * as runtime from '../../../lib/runtime.ts'
import { database } from '../../../lib/runtime-embedded.ts'
import { TimedAlerts } from '../../../lib/telemetry/embedded/timed-alerts.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')
const free: Leases = { take: async () => true, release: async () => {} }

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(noon)
  functions = await openFunctions()
})
afterAll(async () => {
  vi.useRealTimers()
  await functions.close()
})

/** A process of its own, what it reads of the fleet, and what it changes. */
const instance = async () => {
  const { db } = await runtime.registry()
  const alerts = new TimedAlerts(await database())
  const fleet = new Fleet({ db, offlineAfterS: 300, patienceMs: 0 })
  const changes = [vi.spyOn(alerts, 'judge'), vi.spyOn(alerts, 'clear'), vi.spyOn(alerts, 'clearPairs')]
  const reads = [vi.spyOn(fleet, 'after'), vi.spyOn(fleet, 'these')]
  const sweep = new AlertSweep({
    alerts,
    fleet,
    letters: new DeadLetterCounts(db, alerts),
    leases: free,
    log: createLog('silent'),
    flush: async () => (await runtime.devices()).flush(),
  })
  const callsOf = (spies: { mock: { calls: unknown[][] } }[]) => spies.flatMap(({ mock }) => mock.calls)
  return {
    sweep,
    changed: () => callsOf(changes),
    read: () => callsOf(reads),
    forget: () => vi.clearAllMocks(),
  }
}

const rule = async (condition: NewRule['condition'], target: NewRule['target'] = {}) =>
  (await runtime.alerts()).createRule({
    name: condition.kind,
    enabled: true,
    severity: 'info',
    target,
    condition,
  })

interface Device {
  readonly id: number
  readonly key: string
}

const admin = (name: string, method: string, { id }: Device, rest = '', body?: object) =>
  functions.call(name, method, `/api/v1/admin/devices/${id}${rest}`, { admin: true, body: body ?? {} })

const call = (name: string, path: string, key: string, body: object) =>
  functions.call(name, 'POST', `/api/v1/devices/${path}`, { key, body })

/** What may happen to a device. */
const events: Record<string, (device: Device) => Promise<unknown>> = {
  reads: ({ key }) => call('telemetry-submit', 'telemetry', key, { temperature: Math.random() * 60 }),
  warns: ({ key }) => call('telemetry-submit', 'telemetry', key, { 'a\u0001': 1 }),
  beats: ({ key }) => call('devices-heartbeat', 'heartbeat', key, {}),
  leaves: async ({ id }) => {
    const { db } = await runtime.registry()
    await (await runtime.devices()).flush()
    await db.run(sql`update devices set offline_at = ${Date.now()} where id = ${id}`)
  },
  rests: (device) => admin('admin-set-status', 'PUT', device, '/status', { status: 'maintenance' }),
  works: (device) => admin('admin-set-status', 'PUT', device, '/status', { status: 'active' }),
  moves: (device) => admin('admin-update', 'PUT', device, '', { labels: { hall: 'north' } }),
  comesBack: (device) => admin('admin-update', 'PUT', device, '', { labels: { hall: 'south' } }),
  isPatient: (device) => admin('admin-update', 'PUT', device, '', { offline_after_s: 900 }),
  isDeletedElsewhere: async ({ id }) => {
    const { db } = await runtime.registry()
    await db.run(sql`delete from devices where id = ${id}`)
  },
  spoils: async ({ id }) => {
    const letters = await runtime.deadLetters()
    for (const messageId of ['m', 'n'])
      await letters.keep({
        deviceId: id,
        topic: 't',
        payload: Buffer.from('{'),
        reason: 'is no JSON',
        receivedAt: Date.now(),
        messageId,
      })
  },
}

it('finds everything that a look at every device finds', async () => {
  await rule({ kind: 'no_data', for: '2m' })
  await rule({ kind: 'no_data', for: '7m' }, { selector: 'hall=north' })
  await rule({ kind: 'offline' })
  await rule({ kind: 'offline', for: '3m' }, { selector: 'hall!=north' })
  await rule({ kind: 'warnings', count: 2, within: '5m' })
  await rule({ kind: 'dead_letters', count: 2, within: '5m' })
  await rule(
    { kind: 'threshold', field: 'temperature', op: '>', value: 30, for: '1m' },
    { selector: 'hall=north' },
  )
  await rule({ kind: 'threshold', field: 'temperature', op: '>', value: 40 })
  // One of two processes looks at a time, as the lease goes to and fro.
  const processes = [await instance(), await instance()] as const
  const step = fc.tuple(
    fc.array(fc.tuple(fc.constantFrom(...Object.keys(events)), fc.nat(5)), { maxLength: 4 }),
    fc.constantFrom(1, 9_000, 30_000, 61_000, 121_000, 300_000),
    fc.constantFrom(0 as const, 0 as const, 1 as const),
  )
  let found = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 15 }), async (steps) => {
      const devices: Device[] = []
      for (let made = 0; made < 6; made += 1)
        devices.push(await functions.register({ labels: { hall: 'south' } }))
      for (const [happenings, ms, place] of steps) {
        const watching = processes[place]
        for (const [name, which] of happenings) await events[name]?.(devices[which] as Device)
        vi.setSystemTime(Date.now() + ms)
        watching.forget()
        await watching.sweep.run()
        found += watching.changed().length
        const fresh = await instance()
        await fresh.sweep.run()
        expect(fresh.changed()).toEqual([])
      }
    }),
    { numRuns: 20 },
  )
  expect(found).toBeGreaterThan(50)
}, 300_000)

it('reads no device while there is no news, and the one of which there is', async () => {
  const { db } = await runtime.registry()
  // Of the devices of another test, a sweep may still have something to tell.
  await db.run(sql`delete from devices`)
  vi.setSystemTime(Date.now() + 3_600_000)
  await rule({ kind: 'no_data', for: '2m' }, { device_type: 'sensor' })
  await db.run(sql`with recursive n(value) as (select 1 union all select value + 1 from n where value < ${2 * idsPerBlock})
    insert into devices (name, device_type, created_at, updated_at)
    select 'still ' || value, 'still', ${Date.now()}, ${Date.now()} from n`)
  const device = await functions.register({ device_type: 'sensor' })
  const watching = await instance()
  await watching.sweep.run()
  watching.forget()
  vi.setSystemTime(Date.now() + 10_000)
  await watching.sweep.run()
  expect(watching.read()).toEqual([])
  await call('telemetry-submit', 'telemetry', device.key, { temperature: 1 })
  vi.setSystemTime(Date.now() + 119_999)
  await watching.sweep.run()
  watching.forget()
  vi.setSystemTime(Date.now() + 1)
  await watching.sweep.run()
  expect(new Set(watching.read().map(([ids]) => String(ids)))).toEqual(new Set([String(device.id)]))
})
