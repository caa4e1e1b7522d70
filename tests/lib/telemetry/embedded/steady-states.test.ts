/** States of alert rules that a connection knows are judged anew when something else than a message has changed them. */
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { encodeAccounts } from '../../../../lib/telemetry/embedded/accounting.ts'
import { alertRequests } from '../../../../lib/telemetry/embedded/alert-requests.ts'
import { encodeSamples } from '../../../../lib/telemetry/embedded/alert-states.ts'
import { openFile } from '../../../../lib/telemetry/embedded/file.ts'
import { encodeMessage } from '../../../../lib/telemetry/embedded/journal.ts'
import { answer, type ChangeRequest, commonRequests } from '../../../../lib/telemetry/embedded/requests.ts'
import { prepareTables } from '../../../../lib/telemetry/embedded/schema.ts'
import { DatabaseSession } from '../../../../lib/telemetry/embedded/session.ts'
import type { Verdict } from '../../../../lib/telemetry/samples.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

const endings: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})

const [device, rule] = [1, 1]

/** A file with one rule, for one device. */
const openWithRule = async () => {
  const folder = await temporaryFolder()
  endings.push(() => folder.remove())
  const connection = openFile(join(folder.path, 'telemetry.db'), false)
  endings.push(async () => connection.close())
  await prepareTables(connection)
  const session = new DatabaseSession(connection)
  const change = (request: ChangeRequest) => answer(session, request, [commonRequests, alertRequests])
  const row = { name: 'warm', enabled: true, severity: 'warning', kind: 'threshold', hold: 0n, clearHold: 0n }
  await change({
    change: 'createAlertRule',
    args: { rule: { ...row, target: '{}', condition: '{}' }, at: 1, most: 10 },
  })
  let time = 0n
  return {
    connection,
    change,
    /** Judges a reading that comes now, out of the journal. */
    async judge(verdict: Verdict) {
      time += 1n
      const line = encodeMessage(
        {
          deviceId: device,
          receivedAt: 1_700_000_000_000,
          deviceType: 'pump',
          location: null,
          readings: [{ time, fields: { t: Number(time) }, metadata: undefined }],
        },
        {
          counted: true,
          rejected: 0,
          samples: encodeSamples([{ rule, revision: 1, at: 0, verdict, value: Number(time) }]),
        },
      )
      session.journal?.append({ count: 1, text: line })
      while (await change({ change: 'fold', args: { deviceId: undefined } })) {}
    },
    nextTime: () => {
      time += 1n
      return time
    },
    alerts: async () =>
      (await connection.execute({ sql: 'SELECT opened_at, cleared_at FROM alerts ORDER BY id' })).map(
        (times) => times.map((at) => (at === null ? null : Number(at))),
      ),
    state: async () =>
      (await connection.execute({ sql: 'SELECT state, verdict, since, ts, value FROM alert_states' }))
        .flat()
        .map((value) => (typeof value === 'bigint' ? Number(value) : value)),
  }
}

it('a sample that leaves a state as it is makes it newer; one that does not is judged', async () => {
  const { judge, state, alerts } = await openWithRule()
  for (const verdict of [-1, -1, 0, -1] as const) await judge(verdict)
  expect(await state()).toEqual([0, -1, 4, 4, '4'])
  for (const verdict of [1, 1, 0] as const) await judge(verdict)
  expect(await state()).toEqual([2, 0, 7, 7, '7'])
  await judge(-1)
  expect(await alerts()).toEqual([[5, 8]])
})

it('readings that another store has taken change a state that was known', async () => {
  const { judge, change, nextTime, alerts } = await openWithRule()
  for (const verdict of [-1, -1] as const) await judge(verdict)
  const sample = { rule, revision: 1, deviceId: device, ts: nextTime(), verdict: 1, value: 3 } as const
  await change({ change: 'record', args: { accounts: encodeAccounts([]), keys: [], samples: [sample] } })
  expect(await alerts()).toEqual([[3, null]])
  await judge(-1)
  expect(await alerts()).toEqual([[3, 4]])
})

it('an alert opens again after it was cleared because the rule was not about the device for a while', async () => {
  const { judge, change, alerts } = await openWithRule()
  for (const verdict of [1, 1] as const) await judge(verdict)
  await change({ change: 'clearPairs', args: { pairs: [[device, rule]], now: 3n } })
  expect(await alerts()).toEqual([[1, 3]])
  await judge(1)
  expect(await alerts()).toEqual([
    [1, 3],
    [3, null],
  ])
})

it('a file of an earlier version gets the triggers of this one', async () => {
  const { connection, judge, alerts } = await openWithRule()
  const sqlOf = async () => {
    const found = await connection.execute({
      sql: `SELECT sql FROM sqlite_master WHERE name = 'alert_state_changed'`,
    })
    return String(found[0]?.[0])
  }
  const current = await sqlOf()
  const earlier = current.replace('UPDATE OF state, revision ON', 'UPDATE ON')
  expect(earlier).not.toBe(current)
  await connection.script(`DROP TRIGGER alert_state_changed; ${earlier};`)
  await prepareTables(connection)
  expect(await sqlOf()).toBe(current)
  for (const verdict of [-1, 1, -1] as const) await judge(verdict)
  expect(await alerts()).toEqual([[2, 3]])
})
