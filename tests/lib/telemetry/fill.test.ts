import { expect, test } from 'vitest'
import { fills, fillWindows } from '../../../lib/telemetry/fill.ts'
import type { Aggregate } from '../../../lib/telemetry/store.ts'

const at = (second: number) => BigInt(second) * 1_000_000_000n

test.each(fills)('with %s, a field may have a name that every object has', (fill) => {
  const found: Aggregate[] = [
    { time: at(60), values: { t: 2 } },
    { time: at(0), values: { constructor: 1, t: 1 } },
  ]
  const query = {
    deviceId: 1,
    field: undefined,
    aggregation: 'last' as const,
    bounds: { every: 60 },
    from: at(0),
    to: at(120),
  }
  const [last] = fillWindows(found, query, fill, at(120))
  expect(last?.values.constructor).toBe({ null: null, previous: 1, 0: 0 }[fill])
})
