import { expect, it } from 'vitest'
import { formatMillis } from '../../lib/iso-time.ts'

it.each([
  [0, '1970-01-01T00:00:00Z'],
  [1_772_366_400_000, '2026-03-01T12:00:00Z'],
  [1_772_366_400_020, '2026-03-01T12:00:00.020Z'],
])('%i ms is %s', (ms, text) => {
  expect(formatMillis(ms)).toBe(text)
})
