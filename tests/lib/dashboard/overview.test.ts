import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { MinuteCounts } from '../../../lib/dashboard/minute-counts.ts'
import { Overview, type OverviewOptions } from '../../../lib/dashboard/overview.ts'
import { Refreshed } from '../../../lib/dashboard/refreshed.ts'
import * as runtime from '../../../lib/runtime.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { eventually } from '../../support/waiting.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const overviewWith = async (minutes: MinuteCounts, changed: Partial<OverviewOptions> = {}) =>
  new Overview({
    devices: await runtime.devices(),
    telemetry: await runtime.telemetry(),
    deadLetters: await runtime.deadLetters(),
    alerts: await runtime.alerts(),
    messenger: undefined,
    brokerKind: 'none',
    connections: () => 3,
    minutes,
    exact: true,
    background: true,
    ...changed,
  })

it('has what arrived in the hour before the process began, and what the process saw itself', async () => {
  const { key } = await functions.register()
  const send = (body: unknown) =>
    functions.call('telemetry-submit', 'POST', '/api/v1/telemetry', { key, body })
  await send([{ values: { t: 1 } }, { values: { t: 2 }, age_ms: 1000 }])
  const minutes = new MinuteCounts(() => Date.now() + 1)
  // This process sees it: the store must not count it again.
  await send({ t: 3 })
  const overview = await overviewWith(minutes)
  await eventually(async () => {
    const { messages_per_minute: found } = await overview.read()
    expect(found?.reduce((sum, { stored }) => sum + stored, 0)).toBe(2)
  })
  const { broker, messages_per_minute: list } = await overview.read()
  expect(list).toHaveLength(60)
  await eventually(async () =>
    expect((await overview.read()).accounting).toMatchObject({ received: 3, stored: 3, difference: 0 }),
  )
  expect(broker).toEqual({ kind: 'none', connected: false, connections: 3 })
})

it('is read anew at once when an alert has opened or ended, and only then', async () => {
  let [warnings, opened] = [0, 0]
  const alerts = {
    totals: async () => ({ open: { info: 0, warning: warnings, critical: 0 }, opened }),
    newestOpen: async () => [],
  }
  const overview = await overviewWith(new MinuteCounts(), { alerts })
  expect((await overview.read()).alerts).toMatchObject({ opened_total: 0 })
  expect(await overview.readAfterAlert()).toBeUndefined()
  ;[warnings, opened] = [1, 1]
  const { alerts: after } = (await overview.readAfterAlert()) ?? {}
  expect(after).toMatchObject({ open: { warning: 1 }, opened_total: 1 })
  expect(await overview.readAfterAlert()).toBeUndefined()
  warnings = 0
  expect((await overview.readAfterAlert())?.alerts).toMatchObject({ open: { warning: 0 } })
  // Opened and ended since.
  opened = 2
  expect((await overview.readAfterAlert())?.alerts).toMatchObject({ opened_total: 2 })
})

describe('a number that is counted now and then', () => {
  const counter = (background: boolean, waits: readonly Promise<unknown>[] = []) => {
    const state = { counts: 0, failing: false }
    const refreshed = new Refreshed({
      everyMs: 1000,
      background,
      async count() {
        state.counts += 1
        const { counts } = state
        await waits[counts - 1]
        if (state.failing) throw new Error('down')
        return counts
      },
    })
    return { state, refreshed }
  }

  it('is counted once for all who ask, and anew after its time', async () => {
    vi.setSystemTime(0)
    const { refreshed } = counter(false)
    expect(await Promise.all([refreshed.read(), refreshed.read(), refreshed.readSoon()])).toEqual([1, 1, 1])
    vi.setSystemTime(999)
    expect(await refreshed.read()).toBe(1)
    vi.setSystemTime(1000)
    expect(await refreshed.read()).toBe(2)
    // The clock was set back.
    vi.setSystemTime(-5000)
    expect(await refreshed.read()).toBe(3)
    vi.useRealTimers()
  })

  it('is the last one while a new one takes long, and unknown while there is none or only an old one', async () => {
    vi.setSystemTime(0)
    let resolve = () => {}
    const promise = new Promise<void>((done) => {
      resolve = done
    })
    const never = new Promise(() => undefined)
    const { refreshed } = counter(true, [promise, never])
    expect(await refreshed.readSoon()).toBeUndefined()
    const first = refreshed.read()
    resolve()
    expect(await first).toBe(1)
    vi.setSystemTime(3_600_000)
    expect(await refreshed.read()).toBe(1)
    expect(await refreshed.readSoon()).toBeUndefined()
    vi.setSystemTime(10_000)
    expect(await refreshed.readSoon()).toBe(1)
    vi.useRealTimers()
  })

  it('is counted often although the first count was slow, and seldom once each is', async () => {
    vi.useFakeTimers()
    let [counts, tookMs] = [0, 5000]
    const refreshed = new Refreshed({
      everyMs: 1000,
      background: true,
      count: () => new Promise<number>((resolve) => setTimeout(() => resolve(++counts), tookMs)),
    })
    const countsIn = async (ms: number) => {
      const before = counts
      for (let passed = 0; passed < ms; passed += 100) {
        void refreshed.read()
        await vi.advanceTimersByTimeAsync(100)
      }
      return counts - before
    }
    expect(await countsIn(5000)).toBe(1)
    tookMs = 1
    expect(await countsIn(10_000)).toBe(10)
    tookMs = 50
    // Two that are slow before it believes them; then 50 ms may come every 5 s.
    await countsIn(10_000)
    expect(await countsIn(50_000)).toBe(10)
    vi.useRealTimers()
  })

  it('is not waited for while it takes long, unless the last one is old', async () => {
    vi.useFakeTimers()
    let counts = 0
    const refreshed = new Refreshed({
      everyMs: 1000,
      background: true,
      count: () => new Promise<number>((resolve) => setTimeout(() => resolve(++counts), 50)),
    })
    const read = () => {
      const began = Date.now()
      return refreshed.read().then((value) => ({ value, waited: Date.now() - began }))
    }
    const readAfter = async (ms: number) => {
      await vi.advanceTimersByTimeAsync(ms)
      const reading = read()
      await vi.advanceTimersByTimeAsync(100)
      return reading
    }
    expect(await readAfter(0)).toEqual({ value: 1, waited: 50 })
    // The second one shows that it takes long each time: it may come every 5 s.
    expect(await readAfter(1000)).toEqual({ value: 2, waited: 50 })
    expect(await readAfter(5000)).toEqual({ value: 2, waited: 0 })
    expect(await readAfter(0)).toEqual({ value: 3, waited: 0 })
    expect(await readAfter(3_600_000)).toEqual({ value: 4, waited: 50 })
    vi.useRealTimers()
  })

  it('is asked for seldom, too, where it cannot be counted', async () => {
    vi.setSystemTime(0)
    const { state, refreshed } = counter(true)
    state.failing = true
    await expect(refreshed.read()).rejects.toThrow('down')
    await expect(refreshed.read()).rejects.toThrow('down')
    expect(state.counts).toBe(1)
    vi.setSystemTime(1000)
    state.failing = false
    expect(await refreshed.read()).toBe(2)
    vi.useRealTimers()
  })
})
