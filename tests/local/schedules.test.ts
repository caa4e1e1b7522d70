import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createLog } from '../../lib/log.ts'
import { rateMs, Schedules } from '../../local/schedules.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const log = createLog('silent')

it.each([
  ['rate(1 minute)', 60_000],
  ['rate(5 minutes)', 300_000],
  ['rate(1 hour)', 3_600_000],
  ['rate(2 days)', 172_800_000],
])('reads %s', (rate, ms) => expect(rateMs(rate)).toBe(ms))

it.each(['rate(0 minutes)', 'cron(* * * * ? *)', 'rate(1 week)', '1 minute'])('refuses %s', (rate) =>
  expect(() => rateMs(rate)).toThrow('serverless.yml'),
)

it('calls each function again and again, also after a failure, and never the same one twice at a time', async () => {
  const calls: string[] = []
  let finish = () => {}
  const schedules = new Schedules({
    schedules: [
      { functionName: 'slow', everyMs: 60_000 },
      { functionName: 'failing', everyMs: 10_000 },
    ],
    invoke: (functionName) => {
      calls.push(functionName)
      if (functionName === 'failing') return Promise.reject(new Error('no'))
      return new Promise<void>((resolve) => {
        finish = resolve
      })
    },
    log,
  })
  await vi.advanceTimersByTimeAsync(20_000)
  expect(calls).toEqual(['failing', 'slow', 'failing'])
  await vi.advanceTimersByTimeAsync(40_000)
  expect(calls.filter((name) => name === 'slow')).toHaveLength(1)
  finish()
  await vi.advanceTimersByTimeAsync(20_000)
  expect(calls.filter((name) => name === 'slow')).toHaveLength(2)
  let closed = false
  const closing = schedules.close().then(() => {
    closed = true
  })
  await vi.advanceTimersByTimeAsync(1000)
  expect(closed).toBe(false)
  finish()
  await closing
  const before = calls.length
  await vi.advanceTimersByTimeAsync(120_000)
  expect(calls).toHaveLength(before)
})

it('calls what comes rarely soon after the start, too', async () => {
  const calls: number[] = []
  const began = Date.now()
  const schedules = new Schedules({
    schedules: [{ functionName: 'rare', everyMs: 600_000 }],
    invoke: async () => void calls.push(Date.now() - began),
    log,
  })
  await vi.advanceTimersByTimeAsync(1_300_000)
  expect(calls).toEqual([20_000, 600_000, 1_200_000])
  await schedules.close()
  await vi.advanceTimersByTimeAsync(600_000)
  expect(calls).toHaveLength(3)
})
