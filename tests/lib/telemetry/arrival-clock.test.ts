import { describe, expect, it } from 'vitest'
import { ArrivalClock } from '../../../lib/telemetry/arrival-clock.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')
const hour = 3_600_000

const start = () => {
  const time = { now: noon, steady: 5000 }
  const clock = new ArrivalClock({ now: () => time.now, steady: () => time.steady })
  const pass = (ms: number) => {
    time.now += ms
    time.steady += ms
  }
  return { time, clock, pass }
}

describe('the clock of arrivals', () => {
  it('holds still while a small step back is made up for, however many messages come', () => {
    const { time, clock } = start()
    expect(clock.next()).toBe(noon)
    time.now -= 800
    for (let n = 0; n < 3000; n += 1) expect(clock.next()).toBe(noon)
    time.now = noon + 1
    expect(clock.next()).toBe(noon + 1)
    expect(clock.jump).toBeUndefined()
  })

  it('gives true times at once after the clock was set forward and back', () => {
    const { time, clock } = start()
    clock.next()
    time.now += hour
    expect(clock.next()).toBe(noon + hour)
    time.now -= hour
    expect(clock.next()).toBe(noon)
  })

  it('tells a jump for an hour', () => {
    const { time, clock, pass } = start()
    pass(10_000)
    expect(clock.jump).toBeUndefined()
    time.now += hour
    expect(clock.jump).toEqual({ by: hour, at: noon + hour + 10_000 })
    pass(60_000)
    time.now -= 2 * hour
    expect(clock.jump).toMatchObject({ by: -2 * hour })
    pass(hour)
    expect(clock.jump).toBeUndefined()
  })

  it('notices a step back with the next message, although a step forward of the same size follows', () => {
    const { time, clock } = start()
    clock.next()
    time.now -= hour
    clock.next()
    time.now += hour
    clock.next()
    expect(clock.jump).toMatchObject({ by: hour })
  })
})
