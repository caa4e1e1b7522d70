import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { createDevices } from '../../../lib/devices/devices.ts'
import { createLog } from '../../../lib/log.ts'
import { openRegistry, type Registry, type RegistryDb } from '../../../lib/registry/db.ts'
import { expandOutbox } from '../../../lib/registry/webhook-outbox.ts'
import { waitsForTurn } from '../../../lib/registry/webhook-tables.ts'
import { WebhookStore } from '../../../lib/webhooks/webhook-store.ts'
import { describeRegistry, type Place } from '../../support/registry.ts'

describeRegistry('the triggers of webhooks', (open) => {
  let place: Place
  let registry: Registry
  let db: RegistryDb
  let store: WebhookStore
  beforeAll(async () => {
    place = await open()
    registry = await openRegistry({ url: place.url })
    await registry.migrate()
    db = registry.db
    store = new WebhookStore(db)
  })
  afterAll(async () => {
    registry.close()
    await place.remove()
  })
  beforeEach(async () => {
    for (const table of ['webhooks', 'webhook_events', 'webhook_outbox', 'devices'])
      await db.run(sql.raw(`delete from ${table}`))
  })

  const device = async (name: string): Promise<number> => {
    const [row] = await db.all<{
      id: number
    }>(sql`insert into devices (name, device_type, created_at, updated_at)
      values (${name}, 'climate', 0, 0) returning id`)
    return row?.id ?? 0
  }
  const happen = (deviceId: number, kind: string, at = 1000) =>
    db.run(
      sql`insert into events (device_id, kind, detail, at) values (${deviceId}, ${kind}, '{"by":"test"}', ${at})`,
    )
  const command = (deviceId: number, id: string) =>
    db.run(sql`insert into commands (command_id, device_id, command, issued_at, expires_at)
      values (${id}, ${deviceId}, 'restart', 1, 2)`)
  const webhook = (events: string[], enabled = true) =>
    store.create({ name: 'test', url: 'https://example.com', events, enabled })
  const outbox = () => db.all<{ type: string }>(sql`select type from webhook_outbox order by seq`)
  const events = async () => {
    await expandOutbox(db)
    return db.all<{ event_id: string; type: string; data: string; at: number; device_id: number }>(
      sql`select * from webhook_events order by seq`,
    )
  }
  const deliveries = () =>
    db.all<{ webhook_id: number; device_id: number; next_attempt_at: number; status: string }>(
      sql`select * from webhook_deliveries order by id`,
    )

  it('write nothing while no enabled webhook asks for it', async () => {
    const id = await device('a')
    await happen(id, 'online')
    await webhook(['*'], false)
    await happen(id, 'online')
    expect(await outbox()).toEqual([])
    await webhook(['alert.*', 'device.offline', 'command.failed'])
    await happen(id, 'online')
    await happen(id, 'warning')
    await command(id, 'c1')
    await db.run(sql`update commands set status = 'sent' where command_id = 'c1'`)
    expect([await events(), await deliveries()]).toEqual([[], []])
    await happen(id, 'offline')
    expect((await events()).map(({ type }) => type)).toEqual(['device.offline'])
    expect(await outbox()).toEqual([])
  })

  it('write each event of a device once, for each webhook that asks for it', async () => {
    const id = await device('Pump "7"')
    const [all, some] = [await webhook(['*']), await webhook(['device.*'])]
    await webhook(['command.*'])
    for (const kind of ['registered', 'updated', 'online', 'warning', 'offline']) await happen(id, kind, 1234)
    const written = await events()
    expect(written.map(({ type, at, device_id }) => [type, at, device_id])).toEqual([
      ['device.registered', 1234, id],
      ['device.online', 1234, id],
      ['device.offline', 1234, id],
    ])
    expect(JSON.parse(written[0]?.data ?? '')).toEqual({
      device_id: id,
      device_name: 'Pump "7"',
      device_type: 'climate',
      detail: { by: 'test' },
    })
    expect(new Set(written.map(({ event_id }) => event_id)).size).toBe(3)
    const of = (webhookId: number) =>
      deliveries().then((rows) =>
        rows.filter((row) => row.webhook_id === webhookId).map((row) => row.next_attempt_at),
      )
    expect([await of(all.id), await of(some.id)]).toEqual([
      [0, waitsForTurn, waitsForTurn],
      [0, waitsForTurn, waitsForTurn],
    ])
  })

  it('write each change of the state of a command once, with what the device answered', async () => {
    const id = await device('b')
    await webhook(['command.*'])
    await command(id, 'c1')
    const set = (change: string) => db.run(sql.raw(`update commands set ${change} where command_id = 'c1'`))
    await set(`attempts = 1`)
    await set(`status = 'sent', last_sent_at = 10`)
    await set(`status = 'sent', last_sent_at = 20`)
    await set(`status = 'acknowledged', acknowledged_at = 30`)
    await set(`status = 'succeeded', finished_at = 40, result = '{"ok":true}'`)
    const written = await events()
    expect(written.map(({ type, at }) => [type, at])).toEqual([
      ['command.sent', 10],
      ['command.acknowledged', 30],
      ['command.succeeded', 40],
    ])
    expect(JSON.parse(written[2]?.data ?? '')).toEqual({
      device_id: id,
      device_name: 'b',
      device_type: 'climate',
      command_id: 'c1',
      command: 'restart',
      status: 'succeeded',
      fleet_command_id: null,
      result: { ok: true },
    })
  })

  it('count as no row of the statement that fires them', async () => {
    const ids = [await device('c'), await device('d')]
    await webhook(['*'])
    for (const id of ids) await command(id, `c${id}`)
    const { rowsAffected } = await db.run(sql`update commands set status = 'expired', finished_at = 5`)
    expect(rowsAffected).toBe(2)
    expect(await events()).toHaveLength(2)
  })

  it('take part in the transaction: what is undone told nobody', async () => {
    const id = await device('e')
    await webhook(['*'])
    await expect(
      db.batch([
        db.run(sql`insert into events (device_id, kind, at) values (${id}, 'online', 5)`),
        db.run(sql`insert into events (device_id, kind, at) values (${id}, null, 5)`),
      ]),
    ).rejects.toThrow()
    expect([await outbox(), await events(), await deliveries()]).toEqual([[], [], []])
  })

  it('tell in the end of a device and a command that were deleted at once', async () => {
    const id = await device('f')
    await webhook(['*'])
    await happen(id, 'online')
    await command(id, 'cf')
    await db.run(sql`update commands set status = 'sent', last_sent_at = 7 where command_id = 'cf'`)
    const settings = {
      log: createLog('silent'),
      keyLength: 32,
      offlineAfterS: 60,
      cacheMs: 0,
      background: false,
    }
    await createDevices({ db, ...settings }).delete(id)
    expect((await events()).map(({ type, data }) => [type, JSON.parse(data).device_name])).toEqual([
      ['device.online', 'f'],
      ['command.sent', 'f'],
    ])
    expect(await deliveries()).toMatchObject([{ device_id: id, status: 'pending' }, { device_id: id }])
  })

  it('tell of what happened while a webhook asked for it, whatever is changed before it is told', async () => {
    const id = await device('g')
    const before = await webhook(['device.*'])
    await happen(id, 'online')
    const after = await webhook(['*'])
    await happen(id, 'offline')
    await store.update(before.id, { events: ['alert.*'] })
    await happen(id, 'online')
    await store.update(after.id, { enabled: false })
    await store.update(after.id, { enabled: true })
    const told = await db.all<{ webhook: number; type: string; status: string }>(sql`
      select d.webhook_id as webhook, e.type, d.status from webhook_deliveries d join webhook_events e on e.seq = d.event_seq
      order by d.id`)
    expect(await outbox()).toEqual([])
    expect(told).toEqual([
      { webhook: before.id, type: 'device.online', status: 'pending' },
      { webhook: before.id, type: 'device.offline', status: 'pending' },
      { webhook: after.id, type: 'device.offline', status: 'cancelled' },
      { webhook: after.id, type: 'device.online', status: 'cancelled' },
    ])
  })

  it('become events exactly once where several processes make them', async () => {
    const id = await device('h')
    await webhook(['*'])
    await db.run(sql`insert into events (device_id, kind, detail, at)
      select ${id}, 'online', '{}', value from (with recursive n(value) as (
        select 1 union all select value + 1 from n where value < 1200) select value from n)`)
    const other = await openRegistry({ url: place.url })
    await Promise.all([expandOutbox(db), expandOutbox(other.db), expandOutbox(db)])
    other.close()
    const written = await events()
    expect(written.map(({ at }) => at)).toEqual(Array.from({ length: 1200 }, (_, at) => at + 1))
    expect(await deliveries()).toHaveLength(1200)
  })
})
