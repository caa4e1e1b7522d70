import { expect, it } from 'vitest'
import { compareWithBound, type GoalRow, isMet, reachOf } from '../../benchmarks/goal.ts'
import { compare } from '../../benchmarks/ratios.ts'
import { markdownOf } from '../../benchmarks/table.ts'

const rowOf = (part: Partial<GoalRow>): GoalRow => ({
  scenario: 'HTTP',
  goal: 'at least half of the floor',
  bound: 0.5,
  side: 'least',
  ratio: compare([{ ours: 1, other: 2 }]),
  ours: { name: 'server', rate: 1234.4, p50: 1.5, cpu: 20, rss: 3e8, sent: 10, acknowledged: 10, stored: 10 },
  command: 'npm run bench',
  ...part,
})

const ratioOf = (...ratios: number[]) => compare(ratios.map((ours) => ({ ours, other: 1 })))

it('reaches a bound by the median or by the interval, on its side', () => {
  expect(isMet(rowOf({ ratio: ratioOf(0.5) }))).toBe(true)
  expect(isMet(rowOf({ ratio: ratioOf(0.49) }))).toBe(false)
  expect(isMet(rowOf({ ratio: ratioOf(0.45, 0.46, 0.45, 0.46) }))).toBe(false)
  expect(isMet(rowOf({ ratio: ratioOf(0.4, 0.6, 0.4, 0.5, 0.4) }))).toBe(true)
  expect(reachOf(rowOf({ ratio: ratioOf(0.4, 0.6, 0.4, 0.5, 0.4) }))).toBe('within noise')
  expect(reachOf(rowOf({ ratio: ratioOf(0.5) }))).toBe('yes')
  expect(isMet(rowOf({ side: 'most', ratio: ratioOf(0.51) }))).toBe(false)
  expect(isMet(rowOf({ side: 'most', ratio: ratioOf(0.5, 0.4, 0.6) }))).toBe(true)
})

it('compares figures with a plain number', () => {
  expect(compareWithBound([1, 2, 4], 2).ratios).toEqual([0.5, 1, 2])
})

it('shows each goal, what was measured, and the command that measures it again', () => {
  const floor = { name: 'Hono echo', rate: 2468 }
  const lines = markdownOf([rowOf({ floor })]).split('\n')
  expect(lines).toContain('| HTTP | at least half of the floor | ≥ 0.5 | 0.50 | yes |')
  expect(lines).toContain('| HTTP | server | 1,234 | 1.50 |  |  | 20.0 | 300 | 10 / 10 / 10 |')
  expect(lines).toContain('|  | Hono echo | 2,468 |  |  |  |  |  |  |')
  expect(lines).toContain('| HTTP | `npm run bench` |')
  expect(markdownOf([rowOf({ ratio: ratioOf(0.1) })])).toContain('| **no** |')
})
