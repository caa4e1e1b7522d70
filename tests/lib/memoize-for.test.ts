import { expect, it } from 'vitest'
import { memoizeFor } from '../../lib/memoize-for.ts'

/** A question that counts how often it is asked, and a clock that the test sets. */
const start = (ask: (count: number) => Promise<number> = async (count) => count) => {
  const state = { now: 0, asked: 0 }
  const memoized = memoizeFor(
    100,
    () => {
      state.asked += 1
      return ask(state.asked)
    },
    () => state.now,
  )
  return { state, memoized }
}

it('asks once for callers at the same time, and again when the time is over', async () => {
  const { state, memoized } = start()
  expect(await Promise.all([memoized(), memoized(), memoized()])).toEqual([1, 1, 1])
  state.now = 99
  expect(await memoized()).toBe(1)
  state.now = 100
  expect(await memoized()).toBe(2)
  expect(state.asked).toBe(2)
})

it('keeps a rejection as long as an answer', async () => {
  const { state, memoized } = start(async (count) => {
    if (count === 1) throw new Error('no backend')
    return count
  })
  await expect(memoized()).rejects.toThrow('no backend')
  state.now = 99
  await expect(memoized()).rejects.toThrow('no backend')
  expect(state.asked).toBe(1)
  state.now = 100
  expect(await memoized()).toBe(2)
})
