import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { DeviceRetention } from '../../../lib/devices/device-retention.ts'
import { countEvents } from '../../../lib/devices/events.ts'
import type { RegistryDb } from '../../../lib/registry/db.ts'
import { noon, pump, startDevices } from '../../support/devices.ts'
import { describeRegistry } from '../../support/registry.ts'

const dayMs = 86_400_000
const enough = () => performance.now() + 60_000

describeRegistry('the retention of devices', (place) => {
  const start = async (telemetryMs = 30 * dayMs) => {
    const { connect, clock } = await startDevices(place)
    const { devices, registry } = await connect()
    const retention = new DeviceRetention({ db: registry.db, telemetryMs, now: () => clock.now })
    const { device } = await devices.register(pump)
    const countOf = async (table: 'events' | 'sessions' | 'credentials' | 'field_names') => {
      const [row] = await registry.db.all<{ count: number }>(
        sql`select count(*) as count from ${sql.raw(table)} where device_id = ${device.id}`,
      )
      return row?.count
    }
    return { devices, db: registry.db, clock, retention, id: device.id, countOf }
  }
  const addSession = (db: RegistryDb, id: number, client: string, endedAt: number | null) =>
    db.run(sql`insert into sessions (device_id, client_id, session_id, version, since, ended_at)
      values (${id}, ${client}, 's', 1, ${noon}, ${endedAt})`)

  it('deletes events that come by themselves after 30 days, and leaves what operators and devices did', async () => {
    const { db, clock, retention, id, devices } = await start()
    const warnings = Array.from({ length: 1200 }, (_, n) => ({
      deviceId: id,
      kind: 'warning' as const,
      key: `code ${n}`,
      at: noon,
      lastAt: noon,
      count: 1,
      detail: {},
    }))
    await countEvents(db, warnings)
    await db.run(sql`insert into events (device_id, kind, at) values (${id}, 'online', ${noon})`)
    clock.now = noon + 30 * dayMs
    expect(await retention.run(enough())).toBe(true)
    expect(await devices.events(id, { limit: 2000 })).toHaveLength(1202)
    clock.now += 1
    expect(await retention.run(enough())).toBe(true)
    expect((await devices.events(id, { limit: 2000 })).map(({ kind }) => kind)).toEqual(['registered'])
  })

  it('deletes sessions 30 days after their end, and keys 90 days after theirs', async () => {
    const { db, clock, retention, id, devices, countOf } = await start()
    await addSession(db, id, 'ended', noon)
    await addSession(db, id, 'ended later', noon + 1)
    await addSession(db, id, 'open', null)
    await devices.revokeKeys(id)
    await devices.rotateKey(id, { by: 'admin', graceS: 0 })
    clock.now = noon + 30 * dayMs + 1
    await retention.run(enough())
    expect([await countOf('sessions'), await countOf('credentials')]).toEqual([2, 2])
    clock.now = noon + 90 * dayMs + 1
    await retention.run(enough())
    expect([await countOf('sessions'), await countOf('credentials')]).toEqual([1, 1])
  })

  it('forgets deleted devices when their telemetry is gone, with the names of its fields', async () => {
    const { db, clock, retention, id, devices, countOf } = await start(10 * dayMs)
    await db.run(sql`insert into field_names (device_id, name, type, first_seen, last_seen)
      values (${id}, 'temperature', 'number', ${noon}, ${noon})`)
    await devices.delete(id)
    clock.now = noon + 11 * dayMs
    await retention.run(enough())
    expect([await devices.findDeleted(id), await countOf('field_names')]).toMatchObject([{ id }, 1])
    clock.now += 1
    await retention.run(enough())
    expect([await devices.findDeleted(id), await countOf('field_names')]).toEqual([undefined, 0])
  })

  it('keeps deleted devices for ever where telemetry is kept for ever', async () => {
    const { clock, retention, id, devices } = await start(0)
    await devices.delete(id)
    clock.now += 1000 * dayMs
    await retention.run(enough())
    expect(await devices.findDeleted(id)).toMatchObject({ id })
  })

  it('ends when its time is over, and the next run goes on', async () => {
    const { db, clock, retention, id, countOf } = await start()
    await addSession(db, id, 'ended', noon)
    clock.now = noon + 31 * dayMs
    expect(await retention.run(performance.now())).toBe(false)
    expect(await countOf('sessions')).toBe(1)
    expect(await retention.run(enough())).toBe(true)
    expect(await countOf('sessions')).toBe(0)
  })
})
