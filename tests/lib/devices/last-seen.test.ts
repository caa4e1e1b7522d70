import { sql } from 'drizzle-orm'
import { afterEach, expect, it, vi } from 'vitest'
import { isOnline } from '../../../lib/devices/device.ts'
import { noon, pump, startDevices } from '../../support/devices.ts'
import { describeRegistry } from '../../support/registry.ts'
import { eventually, until } from '../../support/waiting.ts'

afterEach(() => {
  vi.useRealTimers()
})

describeRegistry('last-seen times', (place) => {
  it('are written every five seconds, and at the end', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const { clock, connect } = await startDevices(place)
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
      devices.touch(device.id)
      clock.now += 100
      await vi.advanceTimersByTimeAsync(100)
      await new Promise(setImmediate)
      // Waits for the write: a server takes longer than one turn of the event loop.
      const due = Math.floor((passed + 100) / 5000)
      await until(async () => (await writes()).length >= due, 'the write')
    }
    expect(await writes()).toEqual([4900, 9900])
    expect((await devices.get(device.id)).lastSeenAt).toBe(noon + 11_900)
    await devices.close()
    expect(await writes()).toEqual([4900, 9900, 11_900])
    await vi.advanceTimersByTimeAsync(60_000)
    expect(await writes()).toHaveLength(3)
  })

  it('never become older', async () => {
    const { clock, connect } = await startDevices(place)
    const [ahead, behind] = [(await connect()).devices, (await connect()).devices]
    const { device } = await ahead.register(pump)
    behind.touch(device.id)
    clock.now += 2000
    ahead.touch(device.id)
    await ahead.flush()
    await behind.flush()
    expect((await behind.get(device.id)).lastSeenAt).toBe(noon + 2000)
  })

  it('are never later than now, and are right again after the clock was ahead', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const { clock, connect } = await startDevices(place)
    const { devices } = await connect()
    const [{ device: busy }, { device: silent }] = [
      await devices.register(pump),
      await devices.register({ ...pump, name: 'silent' }),
    ]
    clock.now = noon + 3_600_000
    devices.touch(busy.id)
    devices.touch(silent.id)
    await devices.flush()
    clock.now = noon + 1000
    const { devices: other } = await connect()
    expect((await other.get(silent.id)).lastSeenAt).toBe(noon + 1000)
    devices.touch(busy.id)
    await devices.flush()
    clock.now = noon + 60_000
    expect((await other.get(busy.id)).lastSeenAt).toBe(noon + 1000)
    // The silent device was last seen before the clock was put right.
    await vi.advanceTimersByTimeAsync(5000)
    await eventually(async () => {
      clock.now += 1
      expect((await other.get(silent.id)).lastSeenAt).toBe(noon + 60_000)
    })
    clock.now = noon + 600_000
    expect(isOnline(await other.get(silent.id), clock.now)).toBe(false)
  })

  it('wait while the registry cannot write them, and are written at the end', async () => {
    const { connect } = await startDevices(place)
    const { devices } = await connect()
    const observer = await connect()
    const { device, apiKey } = await devices.register(pump)
    await devices.authenticate(apiKey)
    devices.touch(device.id)
    await observer.registry.db.run(sql`alter table devices rename column last_seen_at to elsewhere`)
    await expect(devices.flush()).rejects.toThrow()
    await observer.registry.db.run(sql`alter table devices rename column elsewhere to last_seen_at`)
    await devices.close()
    expect((await observer.devices.get(device.id)).lastSeenAt).toBe(noon)
    expect((await observer.devices.credentials(device.id))[0]?.lastUsedAt).toBe(noon)
  })

  it('that come during a write are written at the end', async () => {
    const { connect } = await startDevices(place)
    const { devices } = await connect()
    const [first, second] = [await devices.register(pump), await devices.register({ ...pump, name: 'fan' })]
    devices.touch(first.device.id)
    const written = devices.flush()
    devices.touch(second.device.id)
    await Promise.all([written, devices.close()])
    const { devices: seen } = await (await connect()).devices.list({ limit: 10 })
    expect(seen.map(({ lastSeenAt }) => lastSeenAt)).toEqual([noon, noon])
  })

  it('that come during a write are due right after it', async () => {
    const { connect } = await startDevices(place)
    const { devices } = await connect()
    const [first, second] = [await devices.register(pump), await devices.register({ ...pump, name: 'fan' })]
    devices.touch(first.device.id)
    const written = devices.flush()
    devices.touch(second.device.id)
    await Promise.all([written, devices.flushDue()])
    const { devices: seen } = await (await connect()).devices.list({ limit: 10 })
    expect(seen.map(({ lastSeenAt }) => lastSeenAt)).toEqual([noon, noon])
  })

  it('that another process has just written are not due, except those of a device that went offline', async () => {
    const { connect, clock } = await startDevices(place)
    const [one, other] = [await connect(), await connect()]
    const { device } = await one.devices.register(pump)
    one.devices.touch(device.id)
    await one.devices.flushDue()
    clock.now = noon + 2000
    await other.devices.find(device.id)
    other.devices.touch(device.id)
    await other.devices.flushDue()
    const observer = await connect()
    expect((await observer.devices.get(device.id)).lastSeenAt).toBe(noon)
    await one.registry.db.run(sql`update devices set offline_at = ${noon + 1000}`)
    const third = await connect()
    await third.devices.find(device.id)
    third.devices.touch(device.id)
    await third.devices.flushDue()
    expect((await (await connect()).devices.get(device.id)).lastSeenAt).toBe(noon + 2000)
    clock.now = noon + 8000
    await other.devices.find(device.id)
    other.devices.touch(device.id)
    await other.devices.flushDue()
    expect((await (await connect()).devices.get(device.id)).lastSeenAt).toBe(noon + 8000)
  })

  it('are due with the next message of a device that went offline right after they were written', async () => {
    const { connect, clock } = await startDevices(place)
    const { devices, registry } = await connect()
    const { device } = await devices.register(pump)
    devices.touch(device.id)
    await devices.flushDue()
    await registry.db.run(sql`update devices set offline_at = ${noon + 1000}`)
    clock.now = noon + 2000
    // Each message reads the row of its device where no cache may be used.
    await devices.list({ limit: 10 })
    devices.touch(device.id)
    await devices.flushDue()
    expect((await (await connect()).devices.get(device.id)).lastSeenAt).toBe(noon + 2000)
  })

  it('of a deleted device do not stop the others', async () => {
    const { connect } = await startDevices(place)
    const { devices } = await connect()
    const gone = (await devices.register(pump)).device
    const stays = (await devices.register({ ...pump, name: 'fan' })).device
    for (const { id } of [gone, stays]) devices.touch(id)
    await devices.delete(gone.id)
    devices.touch(gone.id)
    await devices.flush()
    const seenElsewhere = await (await connect()).devices.list({ limit: 10 })
    expect(seenElsewhere.devices).toMatchObject([{ id: stays.id, lastSeenAt: noon }])
  })
})
