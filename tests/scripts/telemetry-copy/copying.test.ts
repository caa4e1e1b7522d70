import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { createLog } from '../../../lib/log.ts'
import { openEmbedded as openEmbeddedDatabase } from '../../../lib/telemetry/embedded/open.ts'
import { openInfluxStore } from '../../../lib/telemetry/influx/store.ts'
import type { FieldValue } from '../../../lib/telemetry/reading.ts'
import type { StoredReading, TelemetryStore, WriteEntry } from '../../../lib/telemetry/store.ts'
import { unavailable } from '../../../lib/telemetry/unavailable.ts'
import { compareReadings } from '../../../scripts/telemetry-copy/comparing.ts'
import { type CopyOptions, type CopyProgress, copyReadings } from '../../../scripts/telemetry-copy/copying.ts'
import { missingTable, ProgressDisplay } from '../../../scripts/telemetry-copy/progress.ts'
import { columns } from '../../../simulators/report.ts'
import { describeWithInflux, ownBucket } from '../../support/influxdb.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { writeEntry } from '../../support/write-entry.ts'

const log = createLog('silent')
const second = 1_000_000_000n
const start = 1_790_000_000n * second
const whole = { from: 0n, to: 2n ** 63n - 2n }

const endings: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})

const openEmbedded = async () => {
  const folder = await temporaryFolder()
  const { store, close } = await openEmbeddedDatabase({
    at: { file: join(folder.path, 't.db') },
    log,
    retentionMs: 0,
  })
  endings.push(folder.remove, close)
  return store
}
const openInflux = async () => {
  const store = openInfluxStore({ connection: await ownBucket(), log })
  endings.push(() => store.close())
  return store
}

const entry = (deviceId: number, n: number, more: Partial<WriteEntry> = {}): WriteEntry => ({
  deviceId,
  deviceType: 'sensor',
  location: n % 3 === 0 ? 'Lab' : null,
  receivedAt: 1_790_000_000_000 + n,
  readings: [{ time: start + BigInt(n) * second, fields: { n, text: `t${n}` }, metadata: undefined }],
  ...more,
})
const fill = (store: TelemetryStore, deviceId: number, from: number, to: number) =>
  Promise.all(Array.from({ length: to - from }, (_, n) => writeEntry(store, entry(deviceId, from + n))))

const everything = async (store: TelemetryStore) => {
  const all = new Map<number, StoredReading[]>()
  for (const id of await store.devices())
    all.set(id, await store.scan({ deviceId: id, ...whole, limit: 10_000 }))
  return all
}

const options = (from: TelemetryStore, to: TelemetryStore, more: Partial<CopyOptions> = {}): CopyOptions => ({
  from,
  to,
  devices: undefined,
  range: whole,
  done: new Map(),
  keptFrom: () => 0n,
  onProgress: () => {},
  signal: new AbortController().signal,
  patience: { tries: 3, longestMs: 1 },
  ...more,
})

/** The store with some methods replaced. */
const but = (store: TelemetryStore, replaced: Partial<TelemetryStore>): TelemetryStore =>
  new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(name in replaced ? replaced : target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })

describe('a copy', () => {
  it('has every reading with its time, values, metadata, tags and arrival, and a second one changes nothing', async () => {
    const [from, to] = [await openEmbedded(), await openEmbedded()]
    await fill(from, 1, 0, 3000)
    await fill(from, 7, 0, 10)
    await writeEntry(
      from,
      entry(9, 0, {
        readings: [{ time: 5n, fields: { on: true, '': 'x' }, metadata: { a: 'b' } }],
        location: '',
      }),
    )
    const before = await everything(from)
    const copied = await copyReadings(options(from, to))
    expect(copied).toEqual({ readings: 3011, devices: 3, tooOld: 0, refused: [], interrupted: false })
    expect(await everything(to)).toEqual(before)
    expect(await compareReadings(options(from, to, { done: new Map([[1, 2n ** 62n]]) }))).toEqual({
      missing: [],
      arrivedLater: 11,
    })
    expect((await copyReadings(options(from, to))).readings).toBe(3011)
    expect(await everything(to)).toEqual(before)
    expect(await everything(from)).toEqual(before)
  })

  it('takes only the range and the devices asked for', async () => {
    const [from, to] = [await openEmbedded(), await openEmbedded()]
    for (const id of [1, 2, 3]) await fill(from, id, 0, 20)
    const range = { from: start + 5n * second, to: start + 15n * second }
    const asked = options(from, to, { range, devices: [1, 3, 99] })
    expect(await copyReadings(asked)).toMatchObject({ readings: 20, devices: 3 })
    expect(await to.devices()).toEqual([1, 3])
    expect((await to.scan({ deviceId: 1, ...whole, limit: 100 })).map(({ fields }) => fields.n)).toEqual([
      5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
    ])
    expect(await compareReadings(asked)).toEqual({ missing: [], arrivedLater: 0 })
  })

  it('leaves out what the destination does not keep', async () => {
    const [from, to] = [await openEmbedded(), await openEmbedded()]
    await fill(from, 1, 0, 100)
    const asked = options(from, to, { keptFrom: () => start + 40n * second })
    expect(await copyReadings(asked)).toMatchObject({ readings: 60, tooOld: 40 })
    expect(await to.count(1)).toBe(60)
    expect(await compareReadings(asked)).toEqual({ missing: [], arrivedLater: 0 })
  })

  it('shows how far it is, and never more than there is', async () => {
    const [from, to] = [await openEmbedded(), await openEmbedded()]
    for (const id of [1, 2]) await fill(from, id, 0, 2000)
    const seen: CopyProgress[] = []
    await copyReadings(options(from, to, { onProgress: (progress) => seen.push(progress) }))
    const copying = seen.filter(({ phase }) => phase === 'copying')
    expect(copying.map(({ readings }) => readings)).toEqual(
      copying.map(({ readings }) => readings).toSorted((one, other) => one - other),
    )
    expect(copying.length).toBeGreaterThan(4)
    expect(copying.at(-1)).toEqual({ phase: 'copying', device: 2, devices: 2, readings: 4000, total: 4000 })
  })

  it('ends when it is told to, and goes on from there', async () => {
    const [from, to] = [await openEmbedded(), await openEmbedded()]
    for (const id of [1, 2]) await fill(from, id, 0, 3000)
    const done = new Map<number, bigint>()
    const runs: number[] = []
    for (let runsLeft = 50; runsLeft > 0; runsLeft -= 1) {
      const controller = new AbortController()
      const onProgress = ({ readings }: CopyProgress) => {
        if (readings > 500) controller.abort()
      }
      const { readings, interrupted } = await copyReadings(
        options(from, to, { done, onProgress, signal: controller.signal }),
      )
      runs.push(readings)
      // Everything before what is noted is there.
      for (const [id, time] of done)
        expect(await to.count(id, { from: 0n, to: time })).toBe(await from.count(id, { from: 0n, to: time }))
      if (!interrupted) break
    }
    expect(runs.length).toBeGreaterThan(2)
    expect(runs.reduce((sum, readings) => sum + readings, 0)).toBe(6000)
    expect(await everything(to)).toEqual(await everything(from))
  })

  it('waits for a store that is unavailable for a while', async () => {
    const [from, to] = [await openEmbedded(), await openEmbedded()]
    await fill(from, 1, 0, 1000)
    let calls = 0
    const now = <T>(take: () => Promise<T>): Promise<T> => {
      calls += 1
      return calls % 3 === 0 ? Promise.reject(unavailable(undefined, 0)) : take()
    }
    const flaky = (store: TelemetryStore) =>
      but(store, {
        scan: (ask) => now(() => store.scan(ask)),
        count: (...ask) => now(() => store.count(...ask)),
        write: (one) => now(() => store.write(one)),
      })
    const patience = { tries: 20, longestMs: 1 }
    const copied = await copyReadings(options(flaky(from), flaky(to), { patience }))
    expect(copied).toMatchObject({ readings: 1000, refused: [] })
    expect(await everything(to)).toEqual(await everything(from))
  })

  it('gives up a store that stays unavailable; what is noted as done is there', async () => {
    const [from, to] = [await openEmbedded(), await openEmbedded()]
    await fill(from, 1, 0, 3000)
    let left = 1500
    const failing = but(to, {
      async write(batch) {
        const room = Math.max(0, left)
        left -= batch.length
        const outcomes = await to.write(batch.slice(0, room))
        return batch.map((_, at) => outcomes[at] ?? { unavailable: unavailable(undefined, 0) })
      },
    })
    const done = new Map<number, bigint>()
    await expect(copyReadings(options(from, failing, { done }))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    })
    const upTo = done.get(1) ?? 0n
    expect(upTo).toBeGreaterThan(start)
    expect(await to.count(1, { from: 0n, to: upTo })).toBe(await from.count(1, { from: 0n, to: upTo }))
    expect((await copyReadings(options(from, to, { done }))).readings).toBeLessThan(3000)
    expect(await everything(to)).toEqual(await everything(from))
  })

  it('names what was refused, and where something is missing', async () => {
    const [from, to] = [await openEmbedded(), await openEmbedded()]
    await fill(from, 1, 0, 500)
    await fill(from, 2, 0, 5)
    const strict = but(to, {
      async write(batch) {
        const isBad = ({ deviceId, readings }: WriteEntry) =>
          deviceId === 1 && readings.some(({ fields }) => fields.n === 77 || fields.n === 400)
        await to.write(batch.filter((one) => !isBad(one)))
        return batch.map((one) => ({ refused: isBad(one) ? [0] : [] }))
      },
    })
    const done = new Map<number, bigint>()
    const { refused, readings } = await copyReadings(options(from, strict, { done }))
    expect(refused).toEqual([77, 400].map((n) => ({ deviceId: 1, time: start + BigInt(n) * second })))
    expect(readings).toBe(505)
    const { missing } = await compareReadings(options(from, to, { done }))
    expect(missing).toEqual([
      { deviceId: 1, from: start, to: start + 499n * second + 1n, source: 500, destination: 498 },
    ])
    expect(missingTable(missing)).toBe(
      [
        'device  from                  to                              source  destination  missing',
        '1       2026-09-21T14:13:20Z  2026-09-21T14:21:39.000000001Z     500          498        2',
        '',
      ].join('\n'),
    )
  })

  it('does not take readings for missing that came to the source after it', async () => {
    const [from, to] = [await openEmbedded(), await openEmbedded()]
    await fill(from, 1, 0, 100)
    const done = new Map<number, bigint>()
    await copyReadings(options(from, to, { done }))
    await fill(from, 1, 100, 130)
    expect(await compareReadings(options(from, to, { done }))).toEqual({ missing: [], arrivedLater: 30 })
    expect((await copyReadings(options(from, to, { done }))).readings).toBe(30)
    expect(await everything(to)).toEqual(await everything(from))
  })

  it('copies while the source is written to', async () => {
    const [from, to] = [await openEmbedded(), await openEmbedded()]
    await fill(from, 1, 0, 2000)
    let next = 2000
    let over = false
    const writing = (async () => {
      while (!over && next < 9000) {
        await fill(from, 1, next, next + 50)
        next += 50
      }
    })()
    const done = new Map<number, bigint>()
    await copyReadings(options(from, to, { done }))
    over = true
    await writing
    await copyReadings(options(from, to, { done }))
    expect(await everything(to)).toEqual(await everything(from))
  })

  it('takes small slices where readings are large', async () => {
    const [from, to] = [await openEmbedded(), await openEmbedded()]
    const fields = Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`f${n}`, 'x'.repeat(4000)]))
    for (let n = 0; n < 60; n += 1)
      await writeEntry(
        from,
        entry(1, n, { readings: [{ time: start + BigInt(n), fields, metadata: undefined }] }),
      )
    let [under, most] = [0, 0]
    const counting = but(to, {
      async write(batch) {
        under += batch.length
        most = Math.max(most, under)
        const outcomes = await to.write(batch)
        under -= batch.length
        return outcomes
      },
    })
    await copyReadings(options(from, counting))
    expect(await to.count(1)).toBe(60)
    expect(most).toBeLessThan(61)
    expect(await everything(to)).toEqual(await everything(from))
  })
})

describe('the progress display', () => {
  const progress = { phase: 'copying', device: 2, devices: 3, readings: 500, total: 1000 } as const
  const shown = (isTTY: boolean) => {
    const out: string[] = []
    let ms = 0
    const display = new ProgressDisplay({ isTTY, write: (text) => out.push(text) }, () => ms)
    for (ms = 100; ms < 250; ms += 3) display.show(progress)
    display.clear()
    return out.join('')
  }

  it('is one line that a terminal overwrites, and clears at the end', () => {
    expect(shown(true)).toMatch(
      /^\r\u001b\[2K {2}device 2 of 3, 500 of 1,000 readings, 50 %, [\d,]+\/s, \d+ s left\r\u001b\[2K$/,
    )
  })

  it('is a line every few seconds elsewhere', () => {
    expect(shown(false)).toBe('')
    expect(columns([['a']])).toEqual(['a'])
  })
})

describeWithInflux('a copy to InfluxDB and back', () => {
  it('changes nothing', async () => {
    const value: fc.Arbitrary<FieldValue> = fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (n === 0 ? 0 : n)),
      fc.boolean(),
      fc.string({ unit: 'grapheme', maxLength: 30 }),
      fc.string({ unit: fc.constantFrom(...'\r\n\t"\\,= \uE00D012|'), maxLength: 10 }),
    )
    const line = fc
      .string({ unit: 'grapheme', maxLength: 20 })
      .map((text) => text.trim())
      .filter((text) => /^[^\p{Cc}\p{Cs}\u2028\u2029]*$/u.test(text))
    const written = fc.record({
      deviceId: fc.integer({ min: 1, max: 3 }),
      deviceType: fc.oneof(
        line.filter((text) => text !== ''),
        fc.constantFrom('sensor', 'a\\', '\uE00D2'),
      ),
      location: fc.option(fc.oneof(line, fc.constantFrom('', 'C:\\', ' =,\\ ')), { nil: null }),
      readings: fc.array(
        fc.record({
          time: fc.bigInt({ min: start, max: start + 20n }),
          fields: fc.dictionary(
            fc.stringMatching(
              /^[A-Za-z0-9.:/%°#@&+()$温é-]([A-Za-z0-9_.:/%°#@&+()$温é -]{0,8}[A-Za-z0-9_.:/%°#@&+()$温é-])?$/,
            ),
            value,
            {
              minKeys: 1,
              maxKeys: 5,
              noNullPrototype: true,
            },
          ),
          metadata: fc.option(
            fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), fc.string({ unit: 'grapheme', maxLength: 9 }), {
              minKeys: 1,
              noNullPrototype: true,
            }),
            { nil: undefined },
          ),
        }),
        { minLength: 1, maxLength: 4 },
      ),
    })
    const [one, two, influx] = [await openEmbedded(), await openEmbedded(), await openInflux()]
    let run = 0
    await fc.assert(
      fc.asyncProperty(fc.array(written, { minLength: 1, maxLength: 12 }), async (all) => {
        const devices = [1, 2, 3].map((id) => run * 10 + id)
        run += 1
        for (const [n, { deviceId, ...more }] of all.entries())
          await writeEntry(one, {
            ...more,
            deviceId: devices[deviceId - 1] ?? 0,
            receivedAt: 1_790_000_000_000 + n,
          })
        const ofThese = (store: TelemetryStore) =>
          Promise.all(devices.map((deviceId) => store.scan({ deviceId, ...whole, limit: 100 })))
        const before = await ofThese(one)
        await copyReadings(options(one, influx, { devices }))
        expect(await ofThese(influx)).toEqual(before)
        await copyReadings(options(influx, two, { devices }))
        expect(await ofThese(two)).toEqual(before)
        expect(await ofThese(one)).toEqual(before)
      }),
      { numRuns: 30 },
    )
  })

  it('copies the merged history of a device that was moved, and what InfluxDB has at its end stays as it was', async () => {
    const [influx, embedded, again] = [await openInflux(), await openEmbedded(), await openInflux()]
    for (const [n, location] of ['a', 'b', null, 'c'].entries()) {
      const readings = [0, 1, n + 2].map((offset) => ({
        time: start + BigInt(offset),
        fields: { v: n, [`only${n}`]: `${n}` },
        metadata: { [`m${n}`]: 'x' },
      }))
      await writeEntry(influx, entry(1, n, { location, readings }))
    }
    const before = await everything(influx)
    await copyReadings(options(influx, embedded))
    await copyReadings(options(embedded, again))
    expect(await everything(embedded)).toEqual(before)
    expect(await everything(again)).toEqual(before)
    expect(before.get(1)?.[0]).toMatchObject({ location: 'c', fields: { v: 3, only0: '0', only3: '3' } })
  })
})
