import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createDevices, type Devices, type DevicesOptions } from '../../../lib/devices/devices.ts'
import { createLog } from '../../../lib/log.ts'
import { openRegistry, type Registry } from '../../../lib/registry/db.ts'
import { describeRegistry, type Place } from '../../support/registry.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')
const closers: (() => unknown)[] = []
afterEach(async () => {
  vi.useRealTimers()
  for (const end of closers.splice(0).reverse()) await end()
})

/** A registry of its own; each call of `connect` is what another process would have. */
const startIn = async (place: () => Promise<Place>) => {
  const { url, remove } = await place()
  closers.push(remove)
  const clock = { now: noon }
  const connect = async (
    options: Partial<DevicesOptions> = {},
  ): Promise<{ devices: Devices; registry: Registry }> => {
    const registry = await openRegistry({ url })
    await registry.migrate()
    const devices = createDevices({
      db: registry.db,
      log: createLog('silent'),
      now: () => clock.now,
      keyLength: 32,
      offlineAfterS: 300,
      cacheMs: 0,
      ...options,
    })
    closers.push(async () => {
      await devices.close()
      registry.close()
    })
    return { devices, registry }
  }
  return { clock, connect }
}

const pump = { name: 'pump', deviceType: 'actuator' }

describeRegistry('devices', (place) => {
  const start = () => startIn(place)

  describe('registrations', () => {
    it('of one name at the same time make one device and one key', async () => {
      const { connect } = await start()
      const services = [await connect(), await connect(), await connect(), await connect(), await connect()]
      const settled = await Promise.allSettled(
        Array.from({ length: 10 }, () => services.map(({ devices }) => devices.register(pump))).flat(),
      )
      const won = settled.filter((result) => result.status === 'fulfilled').map(({ value }) => value)
      const lost = settled.filter((result) => result.status === 'rejected').map(({ reason }) => reason.code)
      expect(won).toHaveLength(1)
      expect(lost).toEqual(Array(49).fill('CONFLICT'))
      const { devices } = await connect()
      const [winner] = won
      expect((await devices.authenticate(winner?.apiKey ?? '')).device).toMatchObject({
        id: winner?.device.id,
        ...pump,
      })
      expect((await devices.list({ limit: 10 })).total).toBe(1)
      expect(await devices.credentials(winner?.device.id ?? 0)).toHaveLength(1)
      expect(await devices.events(winner?.device.id ?? 0, { limit: 10 })).toMatchObject([
        { kind: 'registered' },
      ])
    })

    it('never give an id a second time', async () => {
      const { devices } = await (await start()).connect()
      const first = await devices.register(pump)
      await devices.delete(first.device.id)
      const second = await devices.register(pump)
      expect(second.device.id).toBeGreaterThan(first.device.id)
      await expect(devices.authenticate(first.apiKey)).rejects.toMatchObject({ code: 'UNAUTHORIZED' })
    })
  })

  describe('keys', () => {
    it('that live are two, however many rotations run at once', async () => {
      const { clock, connect } = await start()
      const services = [await connect(), await connect()] as const
      const { device, apiKey } = await services[0].devices.register(pump)
      const rotations = await Promise.all(
        Array.from({ length: 10 }, (_, i) =>
          services[i % 2 ? 1 : 0].devices.rotateKey(device.id, { graceS: 60, usedKey: apiKey, by: 'device' }),
        ),
      )
      const live = async () => {
        const keys = [apiKey, ...rotations.map((rotation) => rotation.apiKey)]
        const tried = await Promise.allSettled(keys.map((key) => services[0].devices.authenticate(key)))
        return keys.filter((_, i) => tried[i]?.status === 'fulfilled')
      }
      const [asked, minted] = await live()
      expect([asked, await live()]).toEqual([apiKey, [apiKey, minted]])
      clock.now += 60_000
      expect(await live()).toEqual([minted])
    })

    it('that were revoked elsewhere are taken from memory for its time only, own changes count at once', async () => {
      const { clock, connect } = await start()
      const { devices } = await connect({ cacheMs: 1000 })
      const elsewhere = (await connect()).devices
      const { device, apiKey } = await devices.register(pump)
      const refused = { code: 'UNAUTHORIZED' }
      await devices.authenticate(apiKey)
      await elsewhere.revokeKeys(device.id)
      clock.now += 999
      expect((await devices.authenticate(apiKey)).device).toMatchObject(pump)
      clock.now += 1
      await expect(devices.authenticate(apiKey)).rejects.toMatchObject(refused)

      const { apiKey: next } = await devices.rotateKey(device.id, { graceS: 0, by: 'admin' })
      await devices.authenticate(next)
      await devices.revokeKeys(device.id)
      await expect(devices.authenticate(next)).rejects.toMatchObject(refused)
    })

    it('that are revoked while they are read are not remembered', async () => {
      const { connect } = await start()
      const { devices, registry } = await connect({ cacheMs: 60_000 })
      const { device, apiKey } = await devices.register(pump)
      const client = registry.db.$client
      const { execute } = client
      // The rows of the next two reads are there, and wait to be handed over.
      const held: (() => void)[] = []
      vi.spyOn(client, 'execute').mockImplementation(async (...args) => {
        const rows = await Reflect.apply(execute, client, args)
        if (held.length < 2) await new Promise<void>((resolve) => held.push(resolve))
        return rows
      })
      const asked = Promise.all([devices.authenticate(apiKey), devices.find(device.id)])
      await vi.waitUntil(() => held.length === 2)
      await devices.update(device.id, { status: 'inactive' }, 'admin')
      await devices.revokeKeys(device.id)
      for (const handOver of held) handOver()
      await asked
      await expect(devices.authenticate(apiKey)).rejects.toMatchObject({ code: 'UNAUTHORIZED' })
      expect((await devices.find(device.id))?.status).toBe('inactive')
    })
  })

  describe('signs of life', () => {
    it('are written once in five seconds, and at the end', async () => {
      vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
      const { clock, connect } = await start()
      const { devices } = await connect()
      const observer = (await connect()).registry.db
      const { device } = await devices.register(pump)
      await observer.run(sql`create table writes (device_id integer, at integer)`)
      await observer.run(sql`create trigger counted after update of last_seen_at on devices
      begin insert into writes values (new.id, new.last_seen_at); end`)
      const writes = async () =>
        (await observer.all<{ at: number }>(sql`select at from writes order by rowid`)).map(
          ({ at }) => at - noon,
        )

      for (let passed = 0; passed < 12_000; passed += 100) {
        devices.seen(device.id)
        clock.now += 100
        await vi.advanceTimersByTimeAsync(100)
        await new Promise(setImmediate)
        // Time stands still until a write is there: a server takes longer than a turn.
        const due = Math.floor((passed + 100) / 5000)
        for (let tries = 0; tries < 200 && (await writes()).length < due; tries++) await sleep(5)
      }
      expect(await writes()).toEqual([4900, 9900])
      expect((await devices.get(device.id)).lastSeenAt).toBe(noon + 11_900)
      await devices.close()
      expect(await writes()).toEqual([4900, 9900, 11_900])
      await vi.advanceTimersByTimeAsync(60_000)
      expect(await writes()).toHaveLength(3)
    })

    it('never go back in time', async () => {
      const { clock, connect } = await start()
      const [ahead, behind] = [(await connect()).devices, (await connect()).devices]
      const { device } = await ahead.register(pump)
      behind.seen(device.id)
      clock.now += 2000
      ahead.seen(device.id)
      await ahead.flush()
      await behind.flush()
      expect((await behind.get(device.id)).lastSeenAt).toBe(noon + 2000)
    })

    it('wait where the registry cannot take them, and are written at the end', async () => {
      const { connect } = await start()
      const { devices } = await connect()
      const observer = await connect()
      const { device, apiKey } = await devices.register(pump)
      await devices.authenticate(apiKey)
      devices.seen(device.id)
      await observer.registry.db.run(sql`alter table devices rename column last_seen_at to elsewhere`)
      await expect(devices.flush()).rejects.toThrow()
      await observer.registry.db.run(sql`alter table devices rename column elsewhere to last_seen_at`)
      await devices.close()
      expect((await observer.devices.get(device.id)).lastSeenAt).toBe(noon)
      expect((await observer.devices.credentials(device.id))[0]?.lastUsedAt).toBe(noon)
    })

    it('that come while others are written are written at the end, too', async () => {
      const { connect } = await start()
      const { devices } = await connect()
      const [first, second] = [await devices.register(pump), await devices.register({ ...pump, name: 'fan' })]
      devices.seen(first.device.id)
      const written = devices.flush()
      devices.seen(second.device.id)
      await Promise.all([written, devices.close()])
      const { devices: seen } = await (await connect()).devices.list({ limit: 10 })
      expect(seen.map(({ lastSeenAt }) => lastSeenAt)).toEqual([noon, noon])
    })

    it('that come while others are written are due right after them', async () => {
      const { connect } = await start()
      const { devices } = await connect()
      const [first, second] = [await devices.register(pump), await devices.register({ ...pump, name: 'fan' })]
      devices.seen(first.device.id)
      const written = devices.flush()
      devices.seen(second.device.id)
      await Promise.all([written, devices.flushDue()])
      const { devices: seen } = await (await connect()).devices.list({ limit: 10 })
      expect(seen.map(({ lastSeenAt }) => lastSeenAt)).toEqual([noon, noon])
    })

    it('of a device that is deleted harm no other', async () => {
      const { connect } = await start()
      const { devices } = await connect()
      const gone = (await devices.register(pump)).device
      const stays = (await devices.register({ ...pump, name: 'fan' })).device
      for (const { id } of [gone, stays]) devices.seen(id)
      await devices.delete(gone.id)
      devices.seen(gone.id)
      await devices.flush()
      const seenElsewhere = await (await connect()).devices.list({ limit: 10 })
      expect(seenElsewhere.devices).toMatchObject([{ id: stays.id, lastSeenAt: noon }])
    })
  })
})
