import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { sweepWebhooks } from '../../../functions/webhooks/sweep.ts'
import { createLog } from '../../../lib/log.ts'
import * as runtime from '../../../lib/runtime.ts'
import * as webhookRuntime from '../../../lib/runtime-webhooks.ts'
import { withWebhooks } from '../admin/webhook-calls.ts'

const calls = withWebhooks()
const { create, deliveries, sweep } = calls

describe('the sweep of webhooks', () => {
  it('sends what is due, gives up and deletes what is too old', async () => {
    const { id } = (await create({ events: ['device.registered'] })).json.webhook
    await calls.functions.register()
    expect(await sweep()).toBe(0)
    expect(calls.receiver.received).toHaveLength(1)
    const { db } = await runtime.registry()
    const day = 86_400_000
    await db.run(sql`update webhook_deliveries set finished_at = ${Date.now() - 8 * day}`)
    await calls.functions.register()
    await calls.expand()
    await db.run(sql`update webhook_deliveries set created_at = ${Date.now() - 2 * day}, attempts = 1,
      next_attempt_at = ${Date.now() + 3_600_000} where finished_at is null`)
    expect(await sweep()).toBe(1)
    expect((await deliveries(id)).json.deliveries).toMatchObject([{ status: 'failed' }])
    expect(calls.receiver.received).toHaveLength(1)
  })

  it('does nothing while another process does it', async () => {
    await (await create()).json
    await calls.functions.register()
    const { db } = await runtime.registry()
    await db.run(sql`insert into leases values ('webhooks-sweep', 'another', ${Date.now() + 30_000})`)
    expect(await sweep()).toBeUndefined()
    expect(calls.receiver.received).toEqual([])
    await db.run(sql`delete from leases where name = 'webhooks-sweep'`)
    expect(await sweep()).toBe(0)
    expect(calls.receiver.received.length).toBeGreaterThan(0)
  })

  it('takes events of a source also where there is no key to sign with: they would grow otherwise', async () => {
    const { db } = await runtime.registry()
    await db.run(sql`update webhooks set enabled = 0`)
    await create({ events: ['alert.opened'] })
    const event = { eventId: 'alert-1', type: 'alert.opened', deviceId: 1, at: 1, data: {}, place: 1 }
    await calls.functions.register()
    const waiting = [event, { ...event, eventId: 'alert-2', type: 'alert.cleared' }]
    await sweepWebhooks({
      log: createLog('silent'),
      leases: await runtime.leases(),
      queue: await webhookRuntime.webhookQueue(),
      source: { take: async () => waiting, done: async (places) => void waiting.splice(0, places.length) },
      dispatcher: undefined,
    })()
    expect(waiting).toEqual([])
    expect(await db.all(sql`select * from webhook_outbox`)).toEqual([])
    expect(await db.all(sql`select event_id from webhook_events where type like 'alert%'`)).toEqual([
      { event_id: 'alert-1' },
    ])
  })
})
