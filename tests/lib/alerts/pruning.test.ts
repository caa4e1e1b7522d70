/** Alerts, events and counts that nobody asks for any more are forgotten, and totals stay. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { NewRule } from '../../../lib/alerts/rule.ts'
import { openAlerting } from '../../support/alerting.ts'

const dayMs = 86_400_000
let alerting: Awaited<ReturnType<typeof openAlerting>>
let embedded: typeof alerting.embedded
let alerts: typeof alerting.alerts
let intake: typeof alerting.intake
let now = 1_700_000_000_000

beforeAll(async () => {
  alerting = await openAlerting(() => now)
  ;({ embedded, alerts, intake } = alerting)
})
afterAll(() => alerting.close())

/** A message with so many readings that each second one breaks the rule, and the next one obeys it. */
const flap = (id: number, readings: number) => {
  now += 10_000
  const batch = Array.from({ length: readings }, (_, place) => ({
    ts: now - 5000 + place,
    values: { a: place % 2 === 0 ? 11 : 1 },
  }))
  const sender = { id, deviceType: 'sensor', location: null, timezone: null, labels: {} }
  return intake.accept(sender, batch, { receivedAt: now, messageId: String(now) })
}

const ruleOf = (condition: NewRule['condition']) =>
  alerts.createRule({ name: 'r', enabled: true, severity: 'info', target: {}, condition })

const prune = () => alerts.prune(performance.now() + 60_000)
const countOf = async (deviceId: number) => (await alerts.list({ deviceId, limit: 1 })).total
const takeAll = async () => {
  for (;;) {
    const events = await alerts.events(5000)
    if (events.length === 0) return
    await alerts.deleteEvents(events.map(({ seq }) => seq))
  }
}

it('keeps the newest alerts of a device that flaps, those of others, and the total', async () => {
  await ruleOf({ kind: 'threshold', field: 'a', op: '>', value: 10 })
  for (let sent = 0; sent < 21; sent += 1) await flap(1, 1000)
  await flap(2, 10)
  expect(await prune()).toBe(true)
  // Somebody is still to be told of them.
  expect(await countOf(1)).toBe(10_500)
  await takeAll()
  expect(await prune()).toBe(true)
  expect(await countOf(1)).toBe(10_000)
  expect(await countOf(2)).toBe(5)
  expect(await alerts.totals()).toEqual({ open: { critical: 0, warning: 0, info: 0 }, opened: 10_505 })
})

it('forgets what was cleared long ago, but not the total', async () => {
  await flap(3, 3)
  await takeAll()
  now += 91 * dayMs
  expect(await prune()).toBe(true)
  expect([await countOf(1), await countOf(3)]).toEqual([0, 1])
  expect(await alerts.totals()).toEqual({ open: { critical: 0, warning: 0, info: 1 }, opened: 10_507 })
})

it('an outbox that nobody empties keeps its newest events', async () => {
  await flap(4, 20)
  const waiting = (await alerts.events(100)).map(({ seq }) => seq)
  expect(waiting).toHaveLength(20)
  const args = { before: 0n, events: 5, most: 1000 }
  expect(await embedded.database.writer.change('pruneAlerts', args)).toBe(false)
  expect((await alerts.events(100)).map(({ seq }) => seq)).toEqual(waiting.slice(-5))
})

it('counts of warnings are kept for as long as a rule asks for them', async () => {
  const rule = await ruleOf({ kind: 'warnings', count: 1, within: '2h' })
  const warn = () => {
    now += 10_000
    const sender = { id: 5, deviceType: 'sensor', location: null, timezone: null, labels: {} }
    return intake.accept(sender, { 'b\u0001': 1 }, { receivedAt: now, messageId: String(now) })
  }
  const counted = async () => {
    const wanted = { devices: '[5]', kind: 'warnings', since: 0 }
    return Number((await embedded.database.query('deviceCounts', wanted))[0]?.[1] ?? 0)
  }
  await warn()
  expect(await counted()).toBe(1)
  now += 2 * 3_600_000
  await warn()
  await prune()
  expect(await counted()).toBe(2)
  now += 3_600_000
  await prune()
  expect(await counted()).toBe(1)
  await alerts.deleteRule(rule.id)
  now += 3_600_000
  await prune()
  expect(await counted()).toBe(0)
})
