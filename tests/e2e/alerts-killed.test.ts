/** Alerts of a server that is killed under load, again and again: each is opened and cleared exactly once. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { openFile } from '../../lib/telemetry/embedded/file.ts'
import { formatTime } from '../../lib/telemetry/time.ts'
import { freely } from '../faults/kills.ts'
import { AlertModel, shown } from '../support/alert-model.ts'
import { startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { eventually } from '../support/waiting.ts'

const adminToken = 'a-token-of-the-tests-only'
const kills = 4
const deviceCount = 12
const rulesEach = 3
/** An hour ago: a clock that is far behind is as good as any. */
const base = BigInt(Math.floor(Date.now() / 1000) - 3600) * 1_000_000_000n

interface ListedAlert {
  readonly rule_id: number
  readonly device_id: number
  readonly opened_at: string
  readonly opened_value: number
  readonly last_value: number
  readonly cleared_at: string | null
  readonly clear_reason: string | null
}

const times = new Map<string, bigint>()
const timeOf = (text: string): bigint => times.get(text) ?? -1n

it('are those of the messages that were acknowledged, after every SIGKILL', async () => {
  const folder = await temporaryFolder()
  const settings = { DATA_DIR: folder.path, ADMIN_TOKEN: adminToken, ...freely }
  let server = await startStandaloneServer({ settings })
  try {
    const headers = { Authorization: `Bearer ${adminToken}` }
    const model = new AlertModel()
    const devices = await Promise.all(
      Array.from({ length: deviceCount }, (_, n) => server.register(`device ${n}`)),
    )
    for (const { id } of devices)
      for (let n = 0; n < rulesEach; n += 1) {
        const rule = { field: 'a', above: n, back: n - 1, forS: 0, clearForS: 0, enabled: true, device: id }
        const made = await server.request('POST', '/api/v1/admin/alert-rules', {
          headers,
          body: {
            name: `above ${n}`,
            target: { device_id: id },
            condition: { kind: 'threshold', field: 'a', op: '>', value: n, clear_value: n - 1 },
          },
        })
        expect(made.status, made.text).toBe(201)
        model.setRule(made.body.rule.id, rule, 0n)
      }

    let isOver = false
    let sent = 0
    /** Sends one message after the other, each until it is acknowledged: also twice, when the answer was lost. */
    const send = async ({ id, key }: (typeof devices)[number]) => {
      for (let n = 0; !isOver; n += 1) {
        const ts = base + BigInt(n) * 1_000_000_000n
        times.set(formatTime(ts), ts)
        const a = Math.floor(Math.random() * 5) - 1
        // Every second message has an id, and goes past the journal.
        const body = { ts: String(ts), ...(n % 2 === 0 && { message_id: `m${n}` }), values: { a } }
        for (;;) {
          const { status } = await server
            .request('POST', '/api/v1/devices/telemetry', { key, body })
            .catch(() => ({ status: 0 }))
          if (status === 201) break
          await sleep(20)
        }
        model.message(id, [{ ts, fields: { a } }])
        sent += 1
      }
    }
    const load = Promise.all(devices.map(send))
    for (let n = 0; n < kills; n += 1) {
      const before = sent
      await eventually(() => expect(sent).toBeGreaterThan(before + 100))
      await sleep(Math.random() * 1500)
      server.kill('SIGKILL')
      await server.ended
      server = await startStandaloneServer({ settings })
    }
    isOver = true
    await load

    const listed: ListedAlert[] = []
    let cursor = ''
    for (;;) {
      const { body } = await server.request('GET', `/api/v1/admin/alerts?limit=100${cursor}`, { headers })
      listed.push(...body.alerts)
      if (body.next_cursor === undefined) break
      cursor = `&cursor=${body.next_cursor}`
    }
    const seen = listed.map((alert) =>
      shown({
        rule: alert.rule_id,
        revision: 1,
        device: alert.device_id,
        openedAt: timeOf(alert.opened_at),
        openedValue: alert.opened_value,
        lastValue: alert.last_value,
        clearedAt: alert.cleared_at === null ? null : timeOf(alert.cleared_at),
        reason: alert.clear_reason,
      }),
    )
    expect(seen.length).toBeGreaterThan(100)
    expect(seen.sort()).toEqual(model.seen())
    await server.stop()
    // Rows that were ever in the outbox, those that are delivered too.
    const file = openFile(join(folder.path, 'telemetry.db'), true)
    const [[told] = []] = await file.execute({
      sql: "SELECT seq FROM sqlite_sequence WHERE name = 'alert_events'",
    })
    file.close()
    expect(Number(told)).toBe(model.events.length)
  } finally {
    await server.stop().catch(() => undefined)
    await folder.remove()
  }
}, 300_000)
