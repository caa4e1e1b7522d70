import { expect, it } from 'vitest'
import type { TelemetryStore } from '../../../lib/telemetry/store.ts'
import { TimedStore, timedWrites } from '../../../lib/telemetry/timed-store.ts'

/** What every store has, without doing anything. */
const nothing = {
  backend: 'embedded',
  close: async () => {},
} as unknown as TelemetryStore

it('has what its store can do beyond the others, and nothing else', async () => {
  const counts = new Map([[60_000, 3]])
  const asked: unknown[] = []
  const took: string[] = []
  const store: TelemetryStore = {
    ...nothing,
    async countByMinute(from, until) {
      asked.push(from, until)
      return counts
    },
    checkQueries: async () => {},
  }
  const timed = new TimedStore(store, (operation) => took.push(operation))
  expect(await timed.countByMinute?.(1, 2)).toBe(counts)
  expect([asked, took]).toEqual([[1, 2], ['countByMinute']])
  expect(timed.checkQueries).toBeDefined()
  const other = new TimedStore(nothing, () => {})
  expect([other.countByMinute, other.checkQueries]).toEqual([undefined, undefined])
})

it('times the writes of what only writes', async () => {
  const took: string[] = []
  const writes = timedWrites({ write: async () => [{ refused: [] }] }, (operation) => took.push(operation))
  expect([await writes.write([]), took]).toEqual([[{ refused: [] }], ['write']])
})
