import { afterEach, describe, expect, it, vi } from 'vitest'
import { TimerQueue } from '../../simulators/timer-queue.ts'

afterEach(() => {
  vi.useRealTimers()
})

const fake = () => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })

describe('the timer queue', () => {
  it('runs ten thousand entries in their order with one timer', () => {
    fake()
    const timers = new TimerQueue()
    const ran: number[] = []
    for (let n = 9999; n >= 0; n--) timers.at(timers.now() + n, () => ran.push(n))
    expect(vi.getTimerCount()).toBe(1)
    vi.advanceTimersByTime(5000)
    expect(ran).toHaveLength(5001)
    vi.advanceTimersByTime(5000)
    expect(ran).toEqual(Array.from({ length: 10_000 }, (_, n) => n))
    expect(vi.getTimerCount()).toBe(0)
  })

  it('wakes earlier for an entry that comes later and is due sooner', () => {
    fake()
    const timers = new TimerQueue()
    const ran: string[] = []
    timers.at(timers.now() + 1000, () => ran.push('late'))
    timers.at(timers.now() + 10, () => ran.push('soon'))
    vi.advanceTimersByTime(10)
    expect(ran).toEqual(['soon'])
  })

  it('does not run what was cancelled', () => {
    fake()
    const timers = new TimerQueue()
    const run = vi.fn()
    timers.at(timers.now() + 10, run)()
    vi.advanceTimersByTime(100)
    expect(run).not.toHaveBeenCalled()
  })

  it('ends every pause at once when asked', async () => {
    const timers = new TimerQueue()
    const pauses = Promise.all([timers.pause(1e9), timers.pause(2e9)])
    timers.endPauses()
    await pauses
    timers.stop()
  })
})
