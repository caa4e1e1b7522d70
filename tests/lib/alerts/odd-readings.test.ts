/** Readings that are odd: what the rules say about them, and that they are stored in any case. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { NewRule } from '../../../lib/alerts/rule.ts'
import { openAlerting } from '../../support/alerting.ts'

let alerting: Awaited<ReturnType<typeof openAlerting>>
let embedded: typeof alerting.embedded
let rules: typeof alerting.rules
let alerts: typeof alerting.alerts
let intake: typeof alerting.intake
let now = 1_700_000_000_000

beforeAll(async () => {
  alerting = await openAlerting(() => now)
  ;({ embedded, rules, alerts, intake } = alerting)
})
afterAll(() => alerting.close())

let deviceId = 0
const device = () => {
  deviceId += 1
  return { id: deviceId, deviceType: 'sensor', location: null, timezone: null, labels: {} }
}
type Sender = ReturnType<typeof device>

const send = (sender: Sender, body: unknown) => {
  now += 10
  return intake.accept(sender, body, { receivedAt: now, messageId: String(now) })
}

const ruleOf = ({ id }: Sender, condition: object) =>
  alerts.createRule({
    name: 'r',
    enabled: true,
    severity: 'info',
    target: { device_id: id },
    condition: { kind: 'threshold', ...condition },
  } as NewRule)

const listed = async ({ id }: Sender) => (await alerts.list({ deviceId: id, limit: 1000 })).alerts

it.each(['constructor', 'toString', '__proto__', 'hasOwnProperty', '^(a+)+$', "' OR 1=1 --"])(
  'a rule about the field %s says nothing about a reading without it',
  async (field) => {
    const sender = device()
    await ruleOf(sender, { field, op: '!=', value: 1 })
    expect(await send(sender, { temperature: 1 })).toMatchObject({ accepted: 1 })
    expect(await listed(sender)).toEqual([])
  },
)

it.each([
  ['0 for a negative zero', -0, '==', 0, 1],
  ['a huge number', Number.MAX_VALUE, '>=', Number.MAX_VALUE, 1],
  ['the smallest number', Number.MIN_VALUE, '>', 0, 1],
  ['a boolean as 1', true, '>', 0.5, 1],
  ['no text as a number', '5', '>', 1, 0],
])('takes %s', async (_name, value, op, limit, count) => {
  const sender = device()
  await ruleOf(sender, { field: 'a', op, value: limit })
  await send(sender, { values: { a: value, b: 1 } })
  expect(await listed(sender)).toHaveLength(count)
})

it('an alert shows the begin of a long text', async () => {
  const sender = device()
  await ruleOf(sender, { field: 'state', op: '!=', value: 'ok' })
  await send(sender, { values: { state: `${'x'.repeat(254)}😀${'y'.repeat(3000)}` } })
  const [alert] = await listed(sender)
  expect(alert?.openedValue).toBe(`${'x'.repeat(254)}…`)
  expect(alert?.lastValue).toBe(`${'x'.repeat(254)}…`)
})

it('a reading of a clock that is ahead does not hide the readings after it', async () => {
  const sender = device()
  await ruleOf(sender, { field: 'a', op: '>', value: 10 })
  await send(sender, { ts: now + 290_000, values: { a: 1 } })
  now += 2000
  await send(sender, { values: { a: 11 } })
  expect(await listed(sender)).toMatchObject([{ openedAt: expect.any(BigInt), clearedAt: null }])
  now += 2000
  await send(sender, { values: { a: 1 } })
  expect((await listed(sender))[0]?.clearedAt).not.toBe(null)
})

it('readings of a clock that is ahead are judged in their order', async () => {
  const sender = device()
  await ruleOf(sender, { field: 'a', op: '>', value: 10 })
  const ahead = now + 250_000
  await send(
    sender,
    [3, 2, 1, 0].map((place) => ({ ts: ahead + place, values: { a: place % 2 ? 11 : 1 } })),
  )
  const found = await listed(sender)
  expect(found).toHaveLength(2)
  expect(found.map(({ clearedAt }) => clearedAt === null)).toEqual([true, false])
  expect(Number(found[0]?.openedAt) / 1e6 - now).toBeLessThan(2000)
})

it('a thousand changes in one batch are a thousand alerts', async () => {
  const sender = device()
  await ruleOf(sender, { field: 'a', op: '>', value: 10 })
  const batch = Array.from({ length: 1000 }, (_, place) => ({
    ts: now - 2000 + place,
    values: { a: place % 2 ? 11 : 1 },
  }))
  expect(await send(sender, batch)).toMatchObject({ accepted: 1000 })
  expect(await listed(sender)).toHaveLength(500)
})

it('many rules and many readings at once are judged by the newest readings', async () => {
  const sender = device()
  const { database } = embedded
  const made = 1000
  for (let at = 0; at < made; at += 1)
    await database.writer.change('createAlertRule', {
      rule: {
        name: 'r',
        enabled: true,
        severity: 'info',
        kind: 'threshold',
        target: JSON.stringify({ device_id: sender.id }),
        condition: JSON.stringify({ kind: 'threshold', field: 'a', op: '>', value: at }),
        hold: 0n,
        clearHold: 0n,
      },
      at: now,
      most: 10_000,
    })
  await rules.refresh()
  // 100 readings times 1000 rules are judged: of the others, nobody is told.
  const batch = Array.from({ length: 1000 }, (_, place) => ({
    ts: now - 2000 + place,
    values: { a: place < 900 ? 5000 : 500 },
  }))
  expect(await send(sender, batch)).toMatchObject({ accepted: 1000 })
  expect(await listed(sender)).toHaveLength(500)
})
