import { randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { expect, it, onTestFinished } from 'vitest'
import { commandMessage, maxPayloadBytes } from '../../../lib/commands/command.ts'
import { createCommands } from '../../../lib/commands/command-service.ts'
import type { Commands } from '../../../lib/commands/commands.ts'
import type { FleetCommand, NewFleetCommand } from '../../../lib/commands/fleet-command.ts'
import { createFleetCommands } from '../../../lib/commands/fleet-command-service.ts'
import { FleetRunner } from '../../../lib/commands/fleet-runner.ts'
import { FleetStore } from '../../../lib/commands/fleet-store.ts'
import { createLog } from '../../../lib/log.ts'
import { defaultTopics } from '../../../lib/mqtt/topics.ts'
import { openRegistry, type RegistryDb } from '../../../lib/registry/db.ts'
import { createLeases } from '../../../lib/registry/leases.ts'
import { describeRegistry, type Place } from '../../support/registry.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')

/** Services on one registry, by one clock. Each process has its own. */
const open = async (place: () => Promise<Place>) => {
  const { url, remove } = await place()
  const clock = { now: noon }
  const now = () => clock.now
  const log = createLog('silent')
  const registry = await openRegistry({ url })
  await registry.migrate()
  const { db } = registry
  let processes = 0
  const closers: (() => unknown)[] = [remove, () => registry.close()]
  onTestFinished(async () => {
    for (const close of closers.reverse()) await close()
  })
  const startProcess = (change: (commands: Commands) => Partial<Commands> = () => ({})) => {
    processes += 1
    const real = createCommands({ db, topics: defaultTopics, messenger: undefined, kind: 'none', log, now })
    closers.push(() => real.close())
    const commands = { ...real, ...change(real) }
    const store = new FleetStore({ db, now })
    const leases = createLeases({ db, holder: `process ${processes}`, now })
    const runner = new FleetRunner({ store, commands, leases, log, now })
    // The tests say when the runner works.
    const fleet = createFleetCommands({ store, runner: { wake: async () => {} }, commands })
    return { commands, runner, fleet }
  }
  return { db, clock, startProcess }
}

const addDevices = (db: RegistryDb, count: number, type = 'pump', location = 'Hall 1') =>
  db.run(sql`with recursive n(i) as (select 1 union all select i + 1 from n where i < ${count})
    insert into devices (name, device_type, location, location_folded, created_at, updated_at)
    select ${type} || i || ${location}, ${type}, ${location}, ${location.toLowerCase()}, 0, 0 from n`)

const ping = (more: Partial<NewFleetCommand> = {}): NewFleetCommand => ({
  command: 'ping',
  filter: { deviceType: 'pump' },
  ...more,
})

const sumOf = ({ progress }: FleetCommand) => Object.values(progress).reduce((sum, count) => sum + count, 0)

const perDevice = async (db: RegistryDb) =>
  (
    await db.all<{ device_id: number; count: number }>(
      sql`select device_id, count(*) as count from commands group by device_id`,
    )
  ).map(({ count }) => count)

describeRegistry('fleet commands', (place) => {
  it('go to the devices that fit when they are made, and to nobody else', async () => {
    const { db, startProcess } = await open(place)
    await addDevices(db, 3)
    await addDevices(db, 2, 'pump', 'Hall 2')
    await addDevices(db, 2, 'valve')
    await db.run(sql`update devices set status = 'inactive' where id = 1`)
    await db.run(sql`update devices set status = 'maintenance' where id = 2`)
    const { fleet, runner, commands } = startProcess()
    const targetsOf = async (filter: NewFleetCommand['filter']) => {
      const { fleetCommandId, targets } = await fleet.create(ping({ filter }))
      await addDevices(db, 1, `late ${fleetCommandId}`)
      await runner.advance(0)
      const got = (await fleet.commandsOf(fleetCommandId, { limit: 100 })).map(({ deviceId }) => deviceId)
      expect(got).toHaveLength(targets)
      return got
    }
    expect(await targetsOf({ deviceType: 'pump' })).toEqual([2, 3, 4, 5])
    expect(await targetsOf({ location: 'hall 2' })).toEqual([4, 5])
    expect(await targetsOf({ deviceType: 'pump', location: 'Hall 1' })).toEqual([2, 3])
    expect(await targetsOf({ ids: [1, 3, 7, 999] })).toEqual([3, 7])
    expect(await targetsOf({ ids: [3, 7], deviceType: 'valve' })).toEqual([7])
    await expect(fleet.create(ping({ filter: { deviceType: 'drone' } }))).rejects.toMatchObject({
      code: 'VALIDATION_FAILED',
      details: [{ path: 'filter', message: 'fits no device' }],
    })
    expect(await commands.list(1, { limit: 10 })).toEqual([])
    expect(await fleet.list({ limit: 10 })).toHaveLength(5)
  })

  it('with 10,000 devices need few statements', async () => {
    const { db, startProcess } = await open(place)
    await addDevices(db, 10_000)
    const { fleet, runner } = startProcess()
    let statements = 0
    for (const name of ['execute', 'batch'] as const) {
      const run = db.$client[name].bind(db.$client) as (...args: unknown[]) => Promise<never>
      db.$client[name] = (...args: unknown[]) => {
        statements += 1
        return run(...args)
      }
    }
    await fleet.create(ping())
    expect(statements).toBeLessThanOrEqual(4)
    await runner.advance(0)
    expect(await perDevice(db)).toEqual(Array.from({ length: 10_000 }, () => 1))
    expect(statements).toBeLessThan(200)
  })

  it('go on when an earlier one cannot', async () => {
    const { db, startProcess } = await open(place)
    await addDevices(db, 3)
    const away = new Error('away')
    const { fleet, runner } = startProcess((commands) => ({
      async createMany(ids, command) {
        if (command.command === 'bad') throw away
        return commands.createMany(ids, command)
      },
    }))
    await fleet.create(ping({ command: 'bad' }))
    const { fleetCommandId } = await fleet.create(ping())
    await expect(runner.advance(0)).rejects.toBe(away)
    expect(await fleet.commandsOf(fleetCommandId, { limit: 10 })).toHaveLength(3)
  })

  it('are refused when they are too large for a device that gets them at another time', async () => {
    const { db, startProcess } = await open(place)
    await addDevices(db, 1)
    const { fleet } = startProcess()
    const at = { commandId: randomUUID(), command: 'ping', issuedAt: noon, expiresAt: noon }
    const params = 'x'.repeat(maxPayloadBytes - JSON.stringify(commandMessage({ ...at, params: '' })).length)
    await expect(fleet.create(ping({ params }))).rejects.toMatchObject({ code: 'VALIDATION_FAILED' })
  })

  it('go on after a kill between any two statements, and no device gets one twice', async () => {
    const { db, clock, startProcess } = await open(place)
    await addDevices(db, 70)
    const made = startProcess()
    const { fleetCommandId } = await made.fleet.create(ping({ ratePerS: 20 }))
    const killed = new Error('killed')
    for (const when of ['before', 'after', 'before', 'after', 'after']) {
      clock.now += 400
      const dying = startProcess((commands) => ({
        async createMany(ids, command) {
          if (when === 'after') await commands.createMany(ids, command)
          throw killed
        },
      }))
      await expect(dying.runner.advance(0)).rejects.toBe(killed)
      expect(sumOf(await made.fleet.get(fleetCommandId))).toBe(70)
      // Another process gets the lease of the killed one when its time is over.
      expect(await startProcess().runner.advance(0)).toBeUndefined()
      clock.now += 15_000
      await startProcess().runner.advance(0)
      clock.now += 15_000
    }
    for (let n = 0; n < 10; n++) {
      await startProcess().runner.advance(0)
      clock.now += 16_000
    }
    expect(await perDevice(db)).toEqual(Array.from({ length: 70 }, () => 1))
    expect((await made.fleet.get(fleetCommandId)).progress).toMatchObject({ queued: 70, skipped: 0 })
  })

  it('released by two processes at the same time reach each device once', async () => {
    const { db, startProcess } = await open(place)
    await addDevices(db, 50)
    const processes = [startProcess(), startProcess()]
    const [first] = processes as [(typeof processes)[0]]
    const { fleetCommandId } = await first.fleet.create(ping())
    const ids = Array.from({ length: 50 }, (_, n) => n + 1)
    await Promise.all(
      processes.map(({ commands }) => commands.createMany(ids, { command: 'ping', fleetCommandId })),
    )
    await first.runner.advance(0)
    expect(await perDevice(db)).toEqual(ids.map(() => 1))
  })

  it('give the canaries the command first, and the others when all of them succeeded', async () => {
    const { db, clock, startProcess } = await open(place)
    await addDevices(db, 20)
    const { fleet, runner, commands } = startProcess()
    const { fleetCommandId, canaries } = await fleet.create(ping({ canary: 0.1 }))
    expect(canaries).toBe(2)
    expect(await runner.advance(0)).toBeGreaterThan(0)
    const first = await fleet.commandsOf(fleetCommandId, { limit: 100 })
    expect(first).toHaveLength(2)
    for (const [n, { deviceId, commandId }] of first.entries()) {
      expect(await fleet.get(fleetCommandId)).toMatchObject({ status: 'canary', progress: { succeeded: n } })
      await commands.answer({ deviceId, commandId, status: 'succeeded', at: clock.now })
      await runner.advance(0)
    }
    expect(await fleet.get(fleetCommandId)).toMatchObject({
      status: 'running',
      progress: { queued: 18, succeeded: 2 },
    })
    expect(await fleet.commandsOf(fleetCommandId, { limit: 100 })).toHaveLength(20)
    for (const { deviceId, commandId } of await fleet.commandsOf(fleetCommandId, {
      limit: 100,
      status: 'queued',
    }))
      await commands.answer({ deviceId, commandId, status: 'succeeded', at: clock.now })
    expect(await runner.advance(0)).toBeUndefined()
    const done = await fleet.get(fleetCommandId)
    expect(done).toMatchObject({ status: 'finished', finishedAt: clock.now, progress: { succeeded: 20 } })
    expect(await db.all(sql`select * from fleet_targets`)).toEqual([])
  })

  it('do not wait for canaries after their time', async () => {
    const { db, clock, startProcess } = await open(place)
    await addDevices(db, 20)
    const { fleet, runner } = startProcess()
    const { fleetCommandId } = await fleet.create(ping({ canary: 5, canaryWaitS: 60 }))
    await runner.advance(0)
    clock.now += 59_000
    await runner.advance(0)
    expect((await fleet.commandsOf(fleetCommandId, { limit: 100 })).length).toBe(5)
    clock.now += 1000
    await runner.advance(0)
    expect((await fleet.commandsOf(fleetCommandId, { limit: 100 })).length).toBe(20)
  })

  it('are aborted by failures: nobody else gets it, and what is open is cancelled', async () => {
    const { db, clock, startProcess } = await open(place)
    await addDevices(db, 20)
    const { fleet, runner, commands } = startProcess()
    const { fleetCommandId } = await fleet.create(ping({ canary: 5, failedShare: 0.2 }))
    await runner.advance(0)
    const canaries = await fleet.commandsOf(fleetCommandId, { limit: 100 })
    for (const [n, status] of (['succeeded', 'failed', 'failed'] as const).entries()) {
      const { deviceId = 0, commandId = '' } = canaries[n] ?? {}
      await commands.answer({ deviceId, commandId, status, at: clock.now })
    }
    await runner.advance(0)
    expect(await fleet.get(fleetCommandId)).toMatchObject({
      status: 'aborted',
      reason: '2 of 3 results are failures: more than 20 %.',
      finishedAt: clock.now,
      progress: { succeeded: 1, failed: 2, cancelled: 17, queued: 0 },
    })
    await expect(fleet.cancel(fleetCommandId)).rejects.toMatchObject({ code: 'CONFLICT' })
  })

  it('that are cancelled reach nobody else, also when a slice is under way', async () => {
    const { db, startProcess } = await open(place)
    await addDevices(db, 10)
    const { fleet } = startProcess()
    const { fleetCommandId } = await fleet.create(ping())
    const { runner } = startProcess((commands) => ({
      async createMany(ids, command) {
        await fleet.cancel(fleetCommandId)
        return commands.createMany(ids, command)
      },
    }))
    await runner.advance(0)
    await runner.advance(0)
    expect(await fleet.get(fleetCommandId)).toMatchObject({
      status: 'cancelled',
      progress: { cancelled: 10, queued: 0 },
    })
    expect(await fleet.cancel(fleetCommandId)).toMatchObject({ status: 'cancelled' })
    await expect(fleet.cancel('unknown')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('expire as a whole, and are counted then', async () => {
    const { db, clock, startProcess } = await open(place)
    await addDevices(db, 10)
    const { fleet, runner } = startProcess()
    const { fleetCommandId } = await fleet.create(ping({ ratePerS: 1, ttlS: 5 }))
    await runner.advance(0)
    clock.now += 2000
    await runner.advance(0)
    for (const { expiresAt } of await fleet.commandsOf(fleetCommandId, { limit: 10 }))
      expect(expiresAt).toBe(noon + 5000)
    clock.now += 4000
    expect(sumOf(await fleet.get(fleetCommandId))).toBe(10)
    await runner.advance(0)
    expect(await fleet.get(fleetCommandId)).toMatchObject({ status: 'finished', progress: { expired: 10 } })
  })

  it('leave out devices that are full, and those that are deleted', async () => {
    const { db, startProcess } = await open(place)
    await addDevices(db, 4)
    const { fleet, runner, commands } = startProcess()
    for (let n = 0; n < 100; n++) await commands.create(1, { command: 'ping' })
    const { fleetCommandId } = await fleet.create(ping({ canary: 4 }))
    await db.run(sql`delete from devices where id = 2`)
    await runner.advance(0)
    await db.run(sql`delete from devices where id = 3`)
    expect((await fleet.get(fleetCommandId)).progress).toMatchObject({ queued: 1, skipped: 3 })
  })
})
