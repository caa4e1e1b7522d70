import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { sweepDevices } from '../../../functions/devices/sweep.ts'
import { createLog } from '../../../lib/log.ts'
import * as runtime from '../../../lib/runtime.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { connect } from '../../support/presence-events.ts'
import { type RecordingBroker, startRecordingBroker } from '../../support/recording-broker.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')
const dayMs = 86_400_000

let broker: RecordingBroker
let functions: TestFunctions
beforeAll(async () => {
  broker = await startRecordingBroker()
  functions = await openFunctions({}, broker.iot)
})
beforeEach(() => void vi.setSystemTime(noon))
afterAll(async () => {
  await functions.close()
  await broker.close()
  vi.useRealTimers()
})

const sweep = () => functions.invoke('devices-sweep', { source: 'aws.events' })
const eventsOf = async (id: number) => {
  const path = `/api/v1/admin/devices/${id}/events`
  const { json } = await functions.call('admin-events', 'GET', path, { admin: true })
  return json.events.reverse()
}
const heartbeat = (key: string) =>
  functions.call('devices-heartbeat', 'POST', '/api/v1/devices/heartbeat', { key })
const rotate = async (id: number, body: object): Promise<string> => {
  const path = `/api/v1/admin/devices/${id}/rotate-key`
  return (await functions.call('admin-rotate-key', 'POST', path, { admin: true, body })).json.api_key
}

describe('the sweep of devices', () => {
  it('says why a device without MQTT is offline', async () => {
    const { id, key } = await functions.register()
    await heartbeat(key)
    vi.setSystemTime(noon + 312_000)
    expect(await sweep()).toEqual({ changed: 1, expired: 0 })
    expect((await eventsOf(id)).slice(1)).toMatchObject([
      { event: 'online', type: 'device.online', reason: 'a message came', timestamp: '2026-03-01T12:00:00Z' },
      {
        event: 'offline',
        type: 'device.offline',
        reason: 'no message for 312 s, limit 300',
        timestamp: '2026-03-01T12:05:12Z',
      },
    ])
    expect(await sweep()).toEqual({ changed: 0, expired: 0 })
  })

  it('finds devices that have fallen silent also when keys cannot end', async () => {
    const away = new Error('away')
    let swept = false
    const sweepOf = sweepDevices({
      log: createLog('silent'),
      leases: { take: async () => true, release: async () => {} },
      devices: { flush: async () => {}, correctTimes: async () => {} },
      presence: {
        async run() {
          swept = true
          return 0
        },
      },
      keys: { run: () => Promise.reject(away) },
    })
    await expect(sweepOf()).rejects.toBe(away)
    expect(swept).toBe(true)
  })

  it('leaves the work to the process that has it', async () => {
    const { db } = await runtime.registry()
    await db.run(
      sql`insert into leases (name, holder, expires_at) values ('devices-sweep', 'another', ${noon + 1000})`,
    )
    expect(await sweep()).toBeUndefined()
    vi.setSystemTime(noon + 1000)
    expect(await sweep()).toBeDefined()
  })

  it('warns of a key once, a week before its end, and tells that it has ended', async () => {
    const { id } = await functions.register()
    const key = await rotate(id, { grace_s: 0, ttl_s: 90 * 86_400 })
    const newer = async () => (await eventsOf(id)).slice(2)
    vi.setSystemTime(noon + 83 * dayMs - 1000)
    await sweep()
    expect(await newer()).toEqual([])
    vi.setSystemTime(noon + 83 * dayMs)
    await sweep()
    await sweep()
    const prefix = key.slice(0, 6)
    const warning = {
      event: 'key_expiring',
      detail: { key_prefix: prefix, expires_at: '2026-05-30T12:00:00Z' },
    }
    expect(await newer()).toMatchObject([warning])
    expect((await heartbeat(key)).status).toBe(200)
    vi.setSystemTime(noon + 90 * dayMs)
    expect((await heartbeat(key)).status).toBe(401)
    expect(await sweep()).toMatchObject({ expired: 1 })
    expect(await sweep()).toMatchObject({ expired: 0 })
    expect((await newer()).filter(({ event }: { event: string }) => event.startsWith('key_'))).toMatchObject([
      warning,
      { event: 'key_expired', detail: { key_prefix: prefix, expired_at: '2026-05-30T12:00:00Z' } },
    ])
  })

  it('warns of a short life in its last quarter, and not of a key that a newer one replaces', async () => {
    const { id } = await functions.register()
    await rotate(id, { ttl_s: 4000 })
    vi.setSystemTime(noon + 2_999_000)
    await sweep()
    const warnings = async () =>
      (await eventsOf(id)).filter(({ event }: { event: string }) => event === 'key_expiring').length
    expect(await warnings()).toBe(0)
    vi.setSystemTime(noon + 3_000_000)
    await sweep()
    expect(await warnings()).toBe(1)
  })

  it('ends the sessions that a key may have opened, and leaves a session of the newer key alone', async () => {
    const { id, key } = await functions.register()
    await heartbeat(key)
    await functions.invoke('mqtt-presence', connect(id, `${id}-old`))
    const next = await rotate(id, { grace_s: 3600 })
    vi.setSystemTime(noon + 3_600_000)
    broker.clear()
    await sweep()
    expect(broker.ended.toSorted()).toEqual([String(id), `${id}-old`])
    await functions.invoke('mqtt-presence', connect(id, `${id}-new`))
    await rotate(id, { grace_s: 10 })
    const { db } = await runtime.registry()
    await db.run(sql`delete from sessions where client_id = ${`${id}-old`}`)
    await db.run(sql`update credentials set last_used_at = ${noon} where key_prefix = ${next.slice(0, 6)}`)
    vi.setSystemTime(noon + 3_610_000)
    broker.clear()
    expect(await sweep()).toMatchObject({ expired: 1 })
    expect(broker.ended).toEqual([])
  })
})
