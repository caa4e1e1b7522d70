import type { ServerResponse } from 'node:http'
import { sql } from 'drizzle-orm'
import { Webhook as Verifier } from 'standardwebhooks'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { openRegistry, type Registry } from '../../../lib/registry/db.ts'
import type { EventSource, SourceEvent } from '../../../lib/webhooks/dispatcher.ts'
import type { Webhook } from '../../../lib/webhooks/webhook.ts'
import { describeRegistry, type Place } from '../../support/registry.ts'
import { until } from '../../support/waiting.ts'
import { type WebhookPlace, webhookPlace } from '../../support/webhook-places.ts'
import { type Received, type Receiver, startReceiver } from '../../support/webhook-receiver.ts'

const minute = 60_000
const hour = 60 * minute

describeRegistry('the dispatcher of webhooks', (open) => {
  let database: Place
  let registry: Registry
  let place: WebhookPlace
  let receiver: Receiver
  beforeAll(async () => {
    database = await open()
    registry = await openRegistry({ url: database.url })
    await registry.migrate()
  })
  afterAll(async () => {
    registry.close()
    await database.remove()
  })
  beforeEach(async () => {
    for (const table of ['webhooks', 'webhook_events', 'devices'])
      await registry.db.run(sql.raw(`delete from ${table}`))
    place = webhookPlace(registry)
    receiver = await startReceiver()
  })
  afterEach(() => receiver.close())

  const webhook = (fields: Partial<Webhook> = {}) =>
    place.store.create({ name: 'test', url: receiver.url, events: ['*'], enabled: true, ...fields })
  const logOf = async (webhookId: number) =>
    Promise.all(
      (await place.deliveries.list(webhookId, { limit: 1000 }))
        .reverse()
        .map(({ id }) => place.deliveries.get(webhookId, id)),
    )
  const taken = (received: readonly Received[]) =>
    received.filter(({ status }) => status !== undefined && status < 300)
  /** The kinds of events that a device's messages told, in order, of those that the receiver took. */
  const told = (deviceId: number, received = receiver.received) =>
    taken(received)
      .filter(({ body }) => body.data.device_id === deviceId)
      .map(({ id }) => id)
  const happened = async (deviceId: number) =>
    (
      await place.db.all<{ id: string }>(sql`select event_id as id from webhook_events
        where device_id = ${deviceId} order by seq`)
    ).map(({ id }) => id)
  /** Runs until nothing waits, moving the clock to what is due next. */
  const drain = async (mostRuns = 400) => {
    const dispatcher = place.dispatcher()
    for (let runs = 0; runs < mostRuns; runs += 1) {
      const dueMs = await dispatcher.run(0.001)
      if (dueMs === undefined) return runs
      place.clock.move(dueMs)
    }
    throw new Error('something still waits')
  }

  it('sends each event once, signed, with its attempt in the log', async () => {
    const { id, secretVersion } = await webhook()
    const device = await place.device('Pump')
    const at = place.clock.now()
    await place.happen(device, 'online', at)
    expect(await place.dispatcher().run(5000)).toBeUndefined()
    expect(receiver.received).toHaveLength(1)
    const [{ headers, text, body } = {} as Received] = receiver.received
    const secret = place.secrets.of({ id, secretVersion })
    expect(new Verifier(secret).verify(text, headers as Record<string, string>)).toEqual(body)
    expect(body).toEqual({
      type: 'device.online',
      timestamp: new Date(at).toISOString().replace('.000Z', 'Z'),
      data: { device_id: device, device_name: 'Pump', device_type: 'climate', detail: {} },
    })
    const [{ delivery, attempts } = {} as Awaited<ReturnType<typeof logOf>>[number]] = await logOf(id)
    expect(delivery).toMatchObject({ status: 'delivered', attempts: 1, type: 'device.online' })
    expect(attempts).toEqual([
      { at: expect.any(Number), durationMs: expect.any(Number), statusCode: 204, error: null, answer: '' },
    ])
    await place.dispatcher().run(5000)
    expect(receiver.received).toHaveLength(1)
  })

  it('keeps the order of each device while a receiver fails now and then, and every event arrives', async () => {
    const { id } = await webhook()
    const devices = await Promise.all(['a', 'b', 'c'].map((name) => place.device(name)))
    let calls = 0
    receiver.answer(() => {
      calls += 1
      return calls % 3 === 0 ? 204 : calls % 3 === 1 ? 500 : (response) => response.destroy()
    })
    for (let round = 0; round < 5; round += 1)
      for (const device of devices) await place.happen(device, round % 2 === 0 ? 'online' : 'offline')
    await drain()
    for (const device of devices) expect(told(device)).toEqual(await happened(device))
    const log = await logOf(id)
    expect(log.every(({ delivery }) => delivery.status === 'delivered')).toBe(true)
    const attempts = log.flatMap((one) => one.attempts)
    expect(attempts).toHaveLength(receiver.received.length)
    expect(new Set(attempts.map(({ error }) => error))).toEqual(
      new Set([null, 'The receiver answered 500.', 'The connection was closed before the answer.']),
    )
    expect(log.map(({ delivery, attempts }) => delivery.attempts - attempts.length)).toEqual(log.map(() => 0))
  })

  it('catches up after a receiver was away for an hour: each event once, in order, at most 8 at a time', async () => {
    const { id } = await webhook()
    const devices = await Promise.all(Array.from({ length: 20 }, (_, at) => place.device(`d${at}`)))
    receiver.answer(503)
    const dispatcher = place.dispatcher()
    const since = place.clock.now()
    for (let events = 0; place.clock.now() - since < hour; events += 1) {
      if (events < 5) for (const device of devices) await place.happen(device)
      const dueMs = (await dispatcher.run(0.001)) ?? minute
      place.clock.move(Math.min(dueMs, 10 * minute))
    }
    const whileAway = receiver.received.length
    expect((await place.store.get(id)).pausedUntil).not.toBeNull()
    receiver.answer(() => (response: ServerResponse) => setTimeout(() => response.writeHead(204).end(), 5))
    receiver.received.length = 0
    await drain()
    expect(receiver.received.map(({ id: event }) => event).sort()).toEqual(
      (await Promise.all(devices.map(happened))).flat().sort(),
    )
    for (const device of devices)
      expect(
        receiver.received.filter(({ body }) => body.data.device_id === device).map((one) => one.id),
      ).toEqual(await happened(device))
    expect(receiver.mostOpen()).toBeLessThanOrEqual(8)
    // 10 failures, the requests beside the tenth, and then one at a time.
    expect(whileAway).toBeLessThan(40)
    expect(await place.store.get(id)).toMatchObject({ failures: 0, pausedUntil: null, pending: 0 })
  })

  it('tries again 5 s, 30 s, 2 min, 10 min, 30 min and 1 h later, then hourly, and gives up after a day', async () => {
    const { id } = await webhook()
    const device = await place.device('d')
    receiver.answer(500)
    await place.happen(device)
    const since = place.clock.now()
    await drain()
    const [{ delivery, attempts } = {} as Awaited<ReturnType<typeof logOf>>[number]] = await logOf(id)
    expect(delivery.status).toBe('failed')
    // The pause of the webhook knows no chance: it may end a fifth of an hour after the pause of the delivery.
    expect(delivery.finishedAt ?? 0).toBeLessThanOrEqual(since + 24.2 * hour + minute)
    const pauses = attempts.slice(1).map(({ at }, before) => at - (attempts[before]?.at ?? 0))
    const wanted = [5000, 30_000, 2 * minute, 10 * minute, 30 * minute, hour]
    for (const [at, pause] of pauses.entries()) {
      const ms = wanted[at] ?? hour
      expect(pause, `pause ${at}`).toBeGreaterThanOrEqual(ms * 0.79)
      expect(pause, `pause ${at}`).toBeLessThanOrEqual(ms * 1.2 + minute)
    }
    expect(pauses.length).toBeGreaterThan(20)
    // The next one of the device gets its turn.
    receiver.answer(204)
    await place.happen(device)
    await drain()
    expect((await logOf(id)).map((one) => one.delivery.status)).toEqual(['failed', 'delivered'])
  })

  it('gives up what is a day old of a webhook that does not answer, without an attempt for each', async () => {
    const { id } = await webhook()
    const devices = await Promise.all(Array.from({ length: 12 }, (_, at) => place.device(`d${at}`)))
    receiver.answer(500)
    for (const device of devices) for (let n = 0; n < 3; n += 1) await place.happen(device)
    const dispatcher = place.dispatcher()
    for (let runs = 0; runs < 30; runs += 1) place.clock.move((await dispatcher.run(0.001)) ?? 0)
    expect((await place.store.get(id)).pending).toBeGreaterThan(20)
    place.clock.move(25 * hour)
    receiver.received.length = 0
    await dispatcher.run(0.001)
    for (let gone = 1; gone > 0; ) gone = await place.queue.giveUp()
    expect((await place.store.get(id)).pending).toBe(0)
    expect(receiver.received.length).toBeLessThan(12)
  })

  it('does not make other devices and other webhooks wait for one that hangs', async () => {
    const hanging = await startReceiver()
    try {
      hanging.answer(() => () => {})
      await webhook({ url: hanging.url })
      await webhook()
      const devices = await Promise.all(Array.from({ length: 30 }, (_, at) => place.device(`d${at}`)))
      for (const device of devices) await place.happen(device)
      const started = performance.now()
      const dispatcher = place.dispatcher()
      const running = dispatcher.run(1000)
      await until(() => receiver.received.length === 30, 'the other webhook is told')
      expect(performance.now() - started).toBeLessThan(30_000)
      expect(hanging.mostOpen()).toBe(8)
      await running
    } finally {
      await hanging.close()
    }
  })

  it('sends nothing twice while two processes work at the same time, and no more than 8 at once', async () => {
    await webhook()
    const devices = await Promise.all(Array.from({ length: 25 }, (_, at) => place.device(`d${at}`)))
    for (let n = 0; n < 4; n += 1) for (const device of devices) await place.happen(device)
    receiver.answer(() => (response: ServerResponse) => setTimeout(() => response.writeHead(204).end(), 3))
    const two = [place.dispatcher(), place.dispatcher()]
    await Promise.all(two.map((one) => one.run(50_000)))
    expect(receiver.received).toHaveLength(100)
    expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(100)
    expect(receiver.mostOpen()).toBeLessThanOrEqual(8)
    for (const device of devices)
      expect(
        receiver.received.filter(({ body }) => body.data.device_id === device).map(({ id }) => id),
      ).toEqual(await happened(device))
  })

  it('disables a webhook whose receiver is gone, and cancels what waits', async () => {
    const { id } = await webhook()
    const device = await place.device('d')
    receiver.answer(410)
    for (let n = 0; n < 3; n += 1) await place.happen(device)
    await drain()
    expect(receiver.received).toHaveLength(1)
    expect(await place.store.get(id)).toMatchObject({
      enabled: false,
      disabledReason: 'The receiver answered 410 Gone.',
      pending: 0,
    })
    expect((await logOf(id)).map(({ delivery }) => delivery.status)).toEqual([
      'failed',
      'cancelled',
      'cancelled',
    ])
    await place.happen(device)
    expect(await logOf(id)).toHaveLength(3)
    await place.store.update(id, { enabled: true })
    receiver.answer(204)
    await place.happen(device)
    await drain()
    expect(await place.store.get(id)).toMatchObject({ enabled: true, disabledReason: null, failures: 0 })
    expect(receiver.received).toHaveLength(2)
  })

  it('lets slow webhooks with much to send keep no other one waiting', async () => {
    const slow = await startReceiver()
    try {
      slow.answer(() => (response: ServerResponse) => setTimeout(() => response.writeHead(204).end(), 300))
      for (let n = 0; n < 10; n += 1) await webhook({ url: slow.url })
      await webhook()
      const devices = await Promise.all(Array.from({ length: 60 }, (_, at) => place.device(`d${at}`)))
      for (const device of devices) await place.happen(device)
      const running = place.dispatcher().run(60_000)
      await until(() => receiver.received.length === 60, 'the fast one is told')
      expect(slow.received.length).toBeLessThan(450)
      await running
      expect(slow.received).toHaveLength(600)
    } finally {
      await slow.close()
    }
  })

  it('makes nothing of the answer of an address that the webhook has no longer', async () => {
    const { id } = await webhook()
    const moved = await startReceiver()
    try {
      const device = await place.device('d')
      await place.happen(device)
      const asked: ServerResponse[] = []
      receiver.answer(() => (response: ServerResponse) => void asked.push(response))
      const dispatcher = place.dispatcher()
      const running = dispatcher.run(1000)
      await until(() => asked.length === 1, 'the request')
      await place.store.update(id, { url: moved.url })
      asked[0]?.writeHead(410).end()
      await running
      expect(await place.store.get(id)).toMatchObject({ enabled: true, failures: 0 })
      await drain()
      expect(moved.received.map((message) => message.id)).toEqual(receiver.received.map((one) => one.id))
      expect((await logOf(id)).map(({ delivery }) => delivery.status)).toEqual(['delivered'])
    } finally {
      await moved.close()
    }
  })

  it('goes on soon after its clock was set back by a year', async () => {
    const { id } = await webhook()
    const device = await place.device('d')
    place.clock.move(365 * 24 * hour)
    receiver.answer(500)
    const devices = await Promise.all(Array.from({ length: 12 }, (_, at) => place.device(`d${at}`)))
    for (const one of [device, ...devices, device]) await place.happen(one)
    await place.dispatcher().run(0.001)
    const [claimed] = await place.queue.claim(1)
    await place.dispatcher().run(1)
    place.clock.move(-365 * 24 * hour)
    receiver.answer(204)
    await place.queue.correctTimes()
    expect(await place.store.get(id)).toMatchObject({ pausedUntil: null })
    await drain()
    expect(claimed === undefined || receiver.received.some((one) => one.id === claimed.event.id)).toBe(true)
    expect(new Set((await logOf(id)).map(({ delivery }) => delivery.status))).toEqual(new Set(['delivered']))
    await place.queue.correctTimes()
  })

  it('forgets a webhook that is deleted while a request is under way', async () => {
    const { id } = await webhook()
    const other = await webhook({ events: ['device.*'] })
    await place.happen(await place.device('d'))
    receiver.answer(() => (response: ServerResponse) => {
      void place.store
        .delete(id)
        .catch(() => undefined)
        .then(() => response.writeHead(500).end())
    })
    await place.dispatcher().run(0.001)
    await place.dispatcher().run(1)
    receiver.answer(204)
    await drain()
    expect((await logOf(other.id)).map(({ delivery }) => delivery.status)).toEqual(['delivered'])
    expect(
      await place.db.all(sql`select id from webhook_deliveries where webhook_id = ${id}
        union all select id from webhook_attempts where delivery_id not in (select id from webhook_deliveries)`),
    ).toEqual([])
  })

  it('sends again, under the same id, what a process had claimed that has ended', async () => {
    const { id } = await webhook()
    await place.happen(await place.device('d'))
    const [claimed] = await place.queue.claim(10)
    expect(claimed?.webhook.id).toBe(id)
    await place.dispatcher().run(0.001)
    expect(receiver.received).toEqual([])
    place.clock.move(31_000)
    await drain()
    expect(receiver.received.map((one) => one.id)).toEqual([claimed?.event.id])
  })

  it('lets go of what it was sending when it is closed: another one sends it at once', async () => {
    const { id } = await webhook()
    await place.happen(await place.device('d'))
    receiver.answer(() => () => {})
    const dispatcher = place.dispatcher()
    dispatcher.start()
    await until(() => receiver.open() === 1, 'a request is under way')
    const started = performance.now()
    await dispatcher.close()
    expect(performance.now() - started).toBeLessThan(30_000)
    receiver.answer(204)
    await drain()
    expect(receiver.received).toHaveLength(2)
    expect(new Set(receiver.received.map((one) => one.id)).size).toBe(1)
    expect((await logOf(id)).map(({ delivery }) => [delivery.status, delivery.attempts])).toContainEqual([
      'delivered',
      1,
    ])
  })

  it('finds new events by itself in a process that runs', async () => {
    await webhook()
    const device = await place.device('d')
    const dispatcher = place.dispatcher()
    dispatcher.start()
    try {
      for (let n = 1; n <= 3; n += 1) {
        await place.happen(device)
        await until(() => receiver.received.length === n, `message ${n}`)
      }
    } finally {
      await dispatcher.close()
    }
  })

  it('tells what happened outside of the registry once, although the source gives it again', async () => {
    const { id } = await webhook({ events: ['alert.*'] })
    const device = await place.device('Boiler')
    const event = (nth: number, eventId: string, type: string): SourceEvent => ({
      place: nth,
      eventId,
      type,
      deviceId: device,
      at: place.clock.now(),
      data: { severity: 'critical', value: 99.5 },
    })
    const waiting = [
      event(1, 'alert-1', 'alert.opened'),
      event(2, 'other-1', 'device.online'),
      event(3, 'alert-2', 'alert.cleared'),
    ]
    let failures = 1
    const source: EventSource = {
      take: async (limit) => waiting.slice(0, limit),
      async done(places) {
        failures -= 1
        if (failures >= 0) throw new Error('the source is away')
        for (const one of places)
          waiting.splice(
            waiting.findIndex((known) => known.place === one),
            1,
          )
      },
    }
    await expect(place.dispatcher({ source }).run(5000)).rejects.toThrow('away')
    await place.dispatcher({ source }).run(5000)
    expect(waiting).toEqual([])
    expect(receiver.received.map((one) => [one.id, one.body.type])).toEqual([
      ['alert-1', 'alert.opened'],
      ['alert-2', 'alert.cleared'],
    ])
    expect(receiver.received[0]?.body.data).toEqual({
      device_id: device,
      device_name: 'Boiler',
      severity: 'critical',
      value: 99.5,
    })
    expect(await logOf(id)).toHaveLength(2)
  })

  it('sends a finished delivery again when an operator asks for it, under the same id', async () => {
    const { id } = await webhook()
    await place.happen(await place.device('d'))
    await drain()
    const [first] = await place.deliveries.list(id, { limit: 1 })
    await place.deliveries.retry(id, first?.id ?? 0)
    await drain()
    expect(receiver.received.map((one) => one.id)).toEqual([first?.eventId, first?.eventId])
    expect((await logOf(id))[0]?.delivery).toMatchObject({ status: 'delivered', attempts: 2 })
    // A day later it gets one attempt, and no further one.
    receiver.answer(500)
    place.clock.move(25 * hour)
    await place.deliveries.retry(id, first?.id ?? 0)
    expect(await place.queue.giveUp()).toBe(0)
    await drain()
    expect((await logOf(id))[0]?.delivery).toMatchObject({ status: 'failed', attempts: 3 })
  })

  it('deletes what ended a week ago, with its attempts and its event', async () => {
    const { id } = await webhook()
    const device = await place.device('d')
    await place.happen(device)
    await drain()
    place.clock.move(6 * 24 * hour)
    await place.happen(device)
    await drain()
    const rows = async () =>
      (
        await place.db.all<{ events: number; deliveries: number; attempts: number }>(sql`select
          (select count(*) from webhook_events) as events, (select count(*) from webhook_deliveries) as deliveries,
          (select count(*) from webhook_attempts) as attempts`)
      )[0]
    place.clock.move(25 * hour)
    await place.queue.prune()
    expect(await rows()).toEqual({ events: 2, deliveries: 1, attempts: 1 })
    place.clock.move(24 * hour)
    await place.queue.prune()
    expect(await rows()).toEqual({ events: 1, deliveries: 1, attempts: 1 })
    expect(await logOf(id)).toHaveLength(1)
  })
})
