import { expect, it } from 'vitest'
import { MessageRate } from '../../../lib/telemetry/message-rate.ts'

const minute = 60_000
const times = (n: number, one: () => boolean) => Array.from({ length: n }, one)

it('counts the messages of each device by the minute of their arrival', () => {
  const rate = new MessageRate(3)
  expect(times(5, () => rate.isAbove(7, 10 * minute))).toEqual([false, false, false, true, true])
  expect(rate.isAbove(8, 10 * minute)).toBe(false)
  expect(rate.isAbove(7, 11 * minute)).toBe(false)
})

it('counts no message of an earlier minute that comes late', () => {
  const rate = new MessageRate(1)
  rate.isAbove(7, 11 * minute)
  expect(times(5, () => rate.isAbove(7, 10 * minute + 59_999)).some((above) => above)).toBe(false)
  expect(rate.isAbove(7, 11 * minute)).toBe(true)
})

it('finds nobody above a limit of 0, which is none', () => {
  const rate = new MessageRate(0)
  expect(times(1000, () => rate.isAbove(7, minute)).some((above) => above)).toBe(false)
})
