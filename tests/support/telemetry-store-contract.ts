/** The contract of the telemetry store: one suite for every implementation. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { FieldValue, Reading } from '../../lib/telemetry/reading.ts'
import {
  type Aggregation,
  aggregations,
  type TelemetryStore,
  type WriteEntry,
} from '../../lib/telemetry/store.ts'
import { writeEntry } from './write-entry.ts'

const second = 1_000_000_000n
const minute = 60n * second
const hour = 60n * minute
const day = 24n * hour

const at = (
  time: bigint,
  fields: Record<string, FieldValue>,
  metadata?: Record<string, string>,
): Reading => ({
  time,
  fields,
  metadata,
})

/** @param open a store that is empty for the device ids the suite uses. */
export function telemetryStoreContract(
  name: string,
  open: () => Promise<{ store: TelemetryStore; end(): Promise<void> }>,
) {
  describe(`telemetry store contract: ${name}`, () => {
    let store: TelemetryStore
    let end: (() => Promise<void>) | undefined
    let nextDevice = 1
    /** Whole days ago, so that windows of every size are aligned. */
    const start = (BigInt(Date.now()) / 86_400_000n - 5n) * day
    const all = { from: start - day, to: start + 10n * day }

    beforeAll(async () => {
      ;({ store, end } = await open())
    })
    afterAll(() => end?.())

    const device = () => nextDevice++
    const write = (deviceId: number, ...readings: Reading[]) => writeEntry(store, entry(deviceId, readings))
    const entry = (deviceId: number, readings: readonly Reading[]): WriteEntry => ({
      deviceId,
      deviceType: 'sensor',
      location: 'Lab "1", north\\south = 0',
      receivedAt: Date.now(),
      readings,
    })
    const history = (deviceId: number, more: Partial<Parameters<TelemetryStore['history']>[0]> = {}) =>
      store.history({ deviceId, ...all, fields: undefined, limit: 10_000, order: 'asc', ...more })

    it('gives back what was written, every type and nanosecond of it', async () => {
      const id = device()
      const readings = [
        at(start + 1n, {
          temperature: 21.5,
          whole: 21,
          tiny: 5e-324,
          huge: 1.7976931348623157e308,
          negative: -0.1,
        }),
        at(
          start + 2n,
          { on: true, off: false, text: 'a "quoted" \\ line\nbreak, = ü 温 🌡', empty: '' },
          { a: 'b,c="d"' },
        ),
        at(start + 3n, { 'a.b-c:d_e': 1, '0': 2, constructor: 3 }),
      ]
      await write(id, ...readings)
      expect(await history(id)).toEqual(readings)
      expect(await history(id, { order: 'desc' })).toEqual(readings.toReversed())
    })

    it('keeps devices apart', async () => {
      const [one, two] = [device(), device()]
      await write(one, at(start, { a: 1 }))
      await write(two, at(start, { a: 2 }))
      expect(await history(one)).toEqual([at(start, { a: 1 })])
      expect(await history(device())).toEqual([])
    })

    it('takes [start, end), a limit, and either order', async () => {
      const id = device()
      const readings = Array.from({ length: 10 }, (_, n) => at(start + BigInt(n) * second, { n }))
      await write(id, ...readings)
      const range = { from: start + 2n * second, to: start + 5n * second }
      expect(await history(id, range)).toEqual(readings.slice(2, 5))
      expect(await history(id, { ...range, limit: 2 })).toEqual(readings.slice(2, 4))
      expect(await history(id, { ...range, limit: 2, order: 'desc' })).toEqual([readings[4], readings[3]])
      expect(await history(id, { from: range.to, to: range.from })).toEqual([])
    })

    it('gives the fields asked for, and only readings that have one of them', async () => {
      const id = device()
      await write(
        id,
        at(start, { a: 1, b: 2, c: 'x' }),
        at(start + 1n, { b: 3 }),
        at(start + 2n, { d: true, a: 0 }),
      )
      expect(await history(id, { fields: ['a', 'd'] })).toEqual([
        at(start, { a: 1 }),
        at(start + 2n, { d: true, a: 0 }),
      ])
      expect(await history(id, { fields: ['nothing'] })).toEqual([])
      expect(await history(id, { fields: ['a'], limit: 1, order: 'desc' })).toEqual([
        at(start + 2n, { a: 0 }),
      ])
    })

    it('gives as many fields as may be asked for', async () => {
      const id = device()
      const fields = Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`field.${n}`, n]))
      await write(id, at(start, fields))
      const names = Object.keys(fields).slice(100, 164)
      const wanted = Object.fromEntries(names.map((name) => [name, fields[name] as number]))
      expect(await history(id, { fields: names })).toEqual([at(start, wanted)])
    })

    it('keeps one value for one device, time and field: the last written', async () => {
      const id = device()
      await write(id, at(start, { a: 1, b: 1 }, { m: '1', n: '1' }))
      await write(id, at(start, { b: 2, c: 2 }, { n: '2' }))
      await write(id, at(start, { c: 3 }), at(start, { c: 4 }))
      expect(await history(id)).toEqual([at(start, { a: 1, b: 2, c: 4 }, { m: '1', n: '2' })])
      expect(await store.count(id)).toBe(1)
    })

    it('takes another type for a field, also at the same instant: the last written', async () => {
      const id = device()
      await write(id, at(start, { v: 1, w: 'on' }), at(start + 1n, { v: 'text' }))
      await write(id, at(start, { v: true }), at(start + 1n, { v: 2 }))
      await write(id, at(start + 2n, { v: false }), at(start + 3n, { v: 4 }))
      expect(await history(id)).toEqual([
        at(start, { v: true, w: 'on' }),
        at(start + 1n, { v: 2 }),
        at(start + 2n, { v: false }),
        at(start + 3n, { v: 4 }),
      ])
      expect(await history(id, { fields: ['v'], limit: 2 })).toEqual([
        at(start, { v: true }),
        at(start + 1n, { v: 2 }),
      ])
      expect(await store.latest(id, all.to)).toEqual({ time: start + 3n, fields: { v: 4, w: 'on' } })
      const ask = { deviceId: id, aggregation: 'sum', bounds: { every: 3600 }, ...all } as const
      // A boolean counts as 0 or 1.
      const expected = [{ time: start, values: { v: 7 } }]
      expect(await store.aggregate({ ...ask, field: 'v' })).toEqual(expected)
      expect(await store.aggregate({ ...ask, field: undefined })).toEqual(expected)
    })

    it('gives one history and right sums of a device whose tags changed in between', async () => {
      const id = device()
      const moved = (location: string | null, ...readings: Reading[]) =>
        writeEntry(store, {
          ...entry(id, readings),
          location,
          receivedAt: Date.now() + (location?.length ?? 9),
        })
      await moved('a', at(start, { v: 1, only: 1 }, { m: '1' }), at(start + minute, { v: 2 }))
      await moved('bc', at(start + minute, { v: 20 }, { n: '2' }), at(start + 2n * minute, { v: 30 }))
      await moved('C:\\', at(start + 3n * minute, { v: 400 }))
      await moved(null, at(start + 4n * minute, { v: 5000 }))
      expect(await history(id)).toEqual([
        at(start, { v: 1, only: 1 }, { m: '1' }),
        at(start + minute, { v: 20 }, { n: '2' }),
        at(start + 2n * minute, { v: 30 }),
        at(start + 3n * minute, { v: 400 }),
        at(start + 4n * minute, { v: 5000 }),
      ])
      expect(await history(id, { order: 'desc', limit: 2 })).toEqual([
        at(start + 4n * minute, { v: 5000 }),
        at(start + 3n * minute, { v: 400 }),
      ])
      expect(await store.count(id)).toBe(5)
      expect(await store.latest(id, all.to)).toEqual({
        time: start + 4n * minute,
        fields: { v: 5000, only: 1 },
      })
      const ask = { deviceId: id, field: 'v', bounds: { every: 3600 }, ...all } as const
      expect(await store.aggregate({ ...ask, aggregation: 'sum' })).toEqual([
        { time: start, values: { v: 5451 } },
      ])
      expect(await store.aggregate({ ...ask, aggregation: 'count' })).toEqual([
        { time: start, values: { v: 5 } },
      ])
    })

    it('gives the newest value of every field, also of a rare one and of readings that came late', async () => {
      const id = device()
      expect(await store.latest(id, all.to)).toBeUndefined()
      await write(id, at(start, { rare: 'seen', common: 1 }))
      await write(id, at(start + hour, { common: 2, on: false }))
      await write(id, at(start + minute, { common: 99, late: true }))
      expect(await store.latest(id, all.to)).toEqual({
        time: start + hour,
        fields: { rare: 'seen', common: 2, on: false, late: true },
      })
    })

    it('gives the newest values before a time', async () => {
      const id = device()
      await write(
        id,
        at(start, { a: 1, rare: 'x' }),
        at(start + 1n, { a: 2 }),
        at(start + hour, { a: 3, b: 4 }),
      )
      expect(await store.latest(id, start + hour)).toEqual({ time: start + 1n, fields: { a: 2, rare: 'x' } })
      expect(await store.latest(id, start + 1n)).toEqual({ time: start, fields: { a: 1, rare: 'x' } })
      expect(await store.latest(id, start)).toBeUndefined()
    })

    it('gives the newest value of one field of many devices, each with its time', async () => {
      const [newest, late, rare, other, text, none] = [
        device(),
        device(),
        device(),
        device(),
        device(),
        device(),
      ]
      await write(newest, at(start, { v: 1 }), at(start + hour, { v: 2, w: 1 }))
      await write(late, at(start + hour, { v: 3 }))
      await write(late, at(start, { v: 4 }))
      await write(rare, at(start, { v: true, w: 1 }))
      await write(rare, at(start + minute, { w: 2 }), at(start + hour, { w: 3 }))
      await write(other, at(start, { w: 1 }))
      await write(text, at(start, { v: 5 }), at(start + 1n, { v: 'a\u0000"b' }))
      await write(text, at(start + 2n, { w: 1 }))
      const deviceIds = [newest, late, rare, other, text, none]
      const found = await store.latestValues({ deviceIds, field: 'v', before: all.to })
      expect([...found].sort(([one], [two]) => one - two)).toEqual([
        [newest, { time: start + hour, value: 2 }],
        [late, { time: start + hour, value: 3 }],
        [rare, { time: start, value: true }],
        [text, { time: start + 1n, value: 'a\u0000"b' }],
      ])
      const before = await store.latestValues({ deviceIds, field: 'v', before: start + 1n })
      expect([...before].sort(([one], [two]) => one - two)).toEqual([
        [newest, { time: start, value: 1 }],
        [late, { time: start, value: 4 }],
        [rare, { time: start, value: true }],
        [text, { time: start, value: 5 }],
      ])
      expect(await store.latestValues({ deviceIds, field: 'x', before: all.to })).toEqual(new Map())
      expect(await store.latestValues({ deviceIds: [], field: 'v', before: all.to })).toEqual(new Map())
    })

    it('gives the newest values of as many devices as a page has', async () => {
      const deviceIds = Array.from({ length: 1000 }, device)
      await store.write(deviceIds.map((id) => entry(id, [at(start, { v: id })])))
      const found = await store.latestValues({ deviceIds, field: 'v', before: all.to })
      expect([found.size, found.get(deviceIds[999] ?? 0)]).toEqual([
        1000,
        { time: start, value: deviceIds[999] },
      ])
    })

    it('knows the fields of a device, by type, and when they were first and last sent', async () => {
      const id = device()
      await write(id, at(start, { b: 1, a: 'x' }), at(start + 1n, { a: 'y' }))
      await write(id, at(start + day + 1n, { a: 2, '温度 (°C)': true }, { m: '1' }))
      expect(await store.fields(id)).toEqual([
        { name: 'a', type: 'number', first: start + day + 1n, last: start + day + 1n },
        { name: 'a', type: 'text', first: start, last: start + 1n },
        { name: 'b', type: 'number', first: start, last: start },
        { name: '温度 (°C)', type: 'boolean', first: start + day + 1n, last: start + day + 1n },
      ])
      expect(await store.fields(device())).toEqual([])
    })

    it('takes names in any script, with blanks and signs', async () => {
      const id = device()
      const names = [
        'relay/0',
        'LW setpoint (main)',
        '温度',
        'PM2.5',
        'a%b',
        '°C',
        '#1',
        'x@y',
        'A & B + C',
        '$cost',
        'a:b',
      ]
      const values = Object.fromEntries(names.map((name, n) => [name, n]))
      await write(id, at(start, values), at(start + 1n, { 温度: 'warm', '°C': true }))
      expect((await history(id))[0]).toEqual(at(start, values))
      expect((await store.latest(id, all.to))?.fields).toEqual({ ...values, 温度: 'warm', '°C': true })
      for (const name of names) {
        expect((await history(id, { fields: [name] }))[0]).toEqual(
          at(start, { [name]: values[name] as number }),
        )
        const ask = { deviceId: id, ...all, field: name, bounds: { every: 3600 } }
        expect(await store.aggregate({ ...ask, aggregation: 'first' })).toEqual([
          { time: start, values: { [name]: values[name] } },
        ])
      }
      expect((await store.fields(id)).map(({ name }) => name)).toEqual([...names, '温度', '°C'].sort())
    })

    it('sorts fields and metadata by name', async () => {
      const id = device()
      await write(id, at(start, { b: 1, a: 2 }, { y: '1', x: '2' }))
      await write(id, at(start, { '0a': 3 }, { w: '3' }))
      const [reading] = await history(id)
      expect(Object.keys(reading?.fields ?? {})).toEqual(['0a', 'a', 'b'])
      expect(Object.keys(reading?.metadata ?? {})).toEqual(['w', 'x', 'y'])
      expect(Object.keys((await history(id, { fields: ['b', 'a'] }))[0]?.fields ?? {})).toEqual(['a', 'b'])
      expect(Object.keys((await store.latest(id, all.to))?.fields ?? {})).toEqual(['0a', 'a', 'b'])
      const [scanned] = await store.scan({ deviceId: id, ...all, limit: 1 })
      expect(Object.keys(scanned?.metadata ?? {})).toEqual(['w', 'x', 'y'])
    })

    it('counts readings and devices', async () => {
      const id = device()
      const before = await store.devices()
      await write(id, at(start, { a: 1 }), at(start + 1n, { a: 2 }), at(start + 2n, { b: 'x' }))
      expect(await store.count(id)).toBe(3)
      expect(await store.count(id, { from: start + 1n, to: start + 2n })).toBe(1)
      expect(await store.count(id, { from: start + 1n, to: start + 9n })).toBe(2)
      expect(await store.count(id, { from: start + 9n, to: start + 1n })).toBe(0)
      expect(await store.devices()).toEqual([...before, id].sort((one, other) => one - other))
    })

    it('gives readings with what is kept beside them, page by page', async () => {
      const id = device()
      const kept = [
        { deviceType: 'sensor', location: 'Lab "1", north\\south = 0', receivedAt: 1_700_000_000_001 },
        { deviceType: 'pump = 2', location: null, receivedAt: 1_700_000_000_002 },
        { deviceType: 'pump\\', location: '', receivedAt: 1_700_000_000_003 },
        { deviceType: 'pump', location: 'C:\\ \uE00D2 温', receivedAt: 1_700_000_000_004 },
      ]
      const readings = [
        at(start, { a: 1, text: '' }, { m: '', n: 'x' }),
        at(start + 1n, { a: 2, on: true }),
        at(start + 2n, { a: 'x' }),
        at(start + day, { b: -0.5 }),
      ]
      const expected = readings.map((reading, n) => ({ ...reading, ...kept[n] }))
      for (const [n, tags] of kept.entries())
        await writeEntry(store, { deviceId: id, ...tags, readings: readings.slice(n, n + 1) })
      const scan = (range: { from: bigint; to: bigint }, limit: number) =>
        store.scan({ deviceId: id, ...range, limit })
      expect(await scan(all, 10_000)).toEqual(expected)
      expect(await scan({ from: start + 1n, to: start + day }, 10_000)).toEqual(expected.slice(1, 3))
      expect(await scan({ ...all, from: start + 1n }, 2)).toEqual(expected.slice(1, 3))
      expect(await scan({ from: start, to: start }, 10)).toEqual([])
      const again = { ...kept[0], deviceId: id, receivedAt: 1_700_000_000_009 } as const
      await writeEntry(store, { ...entry(id, [at(start + 2n, { c: 1 }, { o: '1' })]), ...again })
      expect(await scan({ from: start + 2n, to: start + 3n }, 1)).toEqual([
        { ...at(start + 2n, { a: 'x', c: 1 }, { o: '1' }), ...kept[0], receivedAt: again.receivedAt },
      ])
    })

    it('deletes a range, and what was newest with it', async () => {
      const id = device()
      await write(
        id,
        at(start, { a: 1, b: 1 }),
        at(start + hour, { a: 2 }),
        at(start + 2n * hour, { a: 3, c: 3 }),
      )
      await store.remove(id, { from: start + hour, to: start + 3n * hour })
      expect(await history(id)).toEqual([at(start, { a: 1, b: 1 })])
      expect(await store.latest(id, all.to)).toEqual({ time: start, fields: { a: 1, b: 1 } })
      await store.remove(id, all)
      expect(await store.latest(id, all.to)).toBeUndefined()
      expect(await store.count(id)).toBe(0)
    })

    describe('aggregation', () => {
      const id = 900_001
      const values = [4, 1, 3, 2]
      const ask = (
        aggregation: Aggregation,
        more: Partial<Parameters<TelemetryStore['aggregate']>[0]> = {},
      ) =>
        store.aggregate({
          deviceId: id,
          field: 't',
          aggregation,
          bounds: { every: 3600 },
          from: start,
          to: start + day,
          ...more,
        })

      beforeAll(async () => {
        await write(
          id,
          ...values.map((t, n) => at(start + BigInt(n) * 15n * minute, { t, other: t * 10 })),
          at(start + 3n * hour, { t: 7.25, label: 'no number', flag: true }),
          at(start + 3n * hour + 1n, { t: 'text now' }),
        )
      })

      it.each([
        ['mean', 2.5, 7.25],
        ['sum', 10, 7.25],
        ['count', 4, 2],
        ['min', 1, 7.25],
        ['max', 4, 7.25],
        ['first', 4, 7.25],
        ['last', 2, 'text now'],
        ['median', 2.5, 7.25],
      ] as const)('%s', async (aggregation, first, second) => {
        expect(await ask(aggregation)).toEqual([
          { time: start + 3n * hour, values: { t: second } },
          { time: start, values: { t: first } },
        ])
      })

      it('has no window without a value', async () => {
        expect(await ask('mean', { from: start + hour, to: start + 3n * hour })).toEqual([])
        expect(await ask('sum', { field: 'unknown' })).toEqual([])
      })

      it('stamps a first, partial window with its aligned start', async () => {
        const windows = await ask('sum', { from: start + 20n * minute, to: start + 40n * minute })
        expect(windows).toEqual([{ time: start, values: { t: 3 + 0 } }])
      })

      it('takes every numeric field', async () => {
        expect(await ask('max', { field: undefined })).toEqual([
          { time: start + 3n * hour, values: { t: 7.25 } },
          { time: start, values: { t: 4, other: 40 } },
        ])
      })

      it('takes booleans as 0 and 1', async () => {
        const window = (value: number) => [{ time: start + 3n * hour, values: { flag: value } }]
        for (const aggregation of aggregations)
          expect(await ask(aggregation, { field: 'flag' })).toEqual(window(1))
      })

      it('counts text, gives its first and last value, and refuses everything else', async () => {
        const window = (value: FieldValue) => [{ time: start + 3n * hour, values: { label: value } }]
        expect(await ask('count', { field: 'label' })).toEqual(window(1))
        expect(await ask('first', { field: 'label' })).toEqual(window('no number'))
        expect(await ask('last', { field: 'label' })).toEqual(window('no number'))
        for (const aggregation of ['mean', 'sum', 'min', 'max', 'median'] as const)
          await expect(ask(aggregation, { field: 'label' })).rejects.toMatchObject({
            code: 'NOT_NUMERIC',
            details: [{ path: 'field', message: expect.stringContaining('is text') }],
          })
      })

      it('takes the numbers of a field that has text, too', async () => {
        const deviceId = device()
        await write(deviceId, at(start, { v: 'on' }), at(start + 1n, { v: 2 }), at(start + 2n, { v: true }))
        const result = async (aggregation: Aggregation) =>
          (await ask(aggregation, { deviceId, field: 'v' }))[0]?.values.v
        expect(await Promise.all(aggregations.map(result))).toEqual([1.5, 3, 3, 1, 2, 'on', 1, 1.5])
      })

      it('has windows of any bounds', async () => {
        const seconds = (offset: bigint) => Number((start + offset) / second)
        const starts = [seconds(-hour), seconds(15n * minute), seconds(45n * minute), seconds(2n * hour)]
        expect(await ask('sum', { bounds: { starts } })).toEqual([
          { time: start + 2n * hour, values: { t: 7.25 } },
          { time: start + 45n * minute, values: { t: 2 } },
          { time: start + 15n * minute, values: { t: 4 } },
          { time: start - hour, values: { t: 4 } },
        ])
      })

      it('rounds a sum once, whatever the order and size of its numbers', async () => {
        const deviceId = device()
        const columns = {
          cancelled: [1e308, 1, -1e308, 1e-3],
          tenths: [0.1, 0.2, 0.3, 0.4],
          huge: [1.7e308, 1.7e308, -1.7e308, 5],
          same: [34.808643, 34.808643, 34.808643, 34.808643],
        }
        const names = Object.keys(columns) as (keyof typeof columns)[]
        await write(
          deviceId,
          ...[0, 1, 2, 3].map((n) =>
            at(
              start + BigInt(n),
              Object.fromEntries(names.map((name) => [name, columns[name][n] as number])),
            ),
          ),
        )
        const result = async (aggregation: Aggregation) =>
          (await ask(aggregation, { deviceId, field: undefined }))[0]?.values
        expect(await result('sum')).toEqual({ cancelled: 1.001, huge: 1.7e308, same: 139.234572, tenths: 1 })
        expect(await result('mean')).toEqual({
          cancelled: 0.25025,
          huge: 4.25e307,
          same: 34.808643,
          tenths: 0.25,
        })
      })

      it('refuses a sum beyond the largest number, and gives the mean and the median of such numbers', async () => {
        const deviceId = device()
        await write(deviceId, at(start, { v: 1e308 }), at(start + 1n, { v: 1e308 }), at(start + 2n, { w: 1 }))
        const result = async (aggregation: Aggregation) =>
          (await ask(aggregation, { deviceId, field: 'v' }))[0]?.values.v
        expect(await result('mean')).toBe(1e308)
        expect(await result('median')).toBe(1e308)
        for (const field of ['v', undefined])
          await expect(ask('sum', { deviceId, field })).rejects.toMatchObject({
            code: 'VALIDATION_FAILED',
            details: [{ path: 'aggregation' }],
          })
      })

      it('agrees with plain arithmetic', async () => {
        const series = fc.uniqueArray(
          fc.record({
            offset: fc.integer({ min: 0, max: 7199 }),
            value: fc.integer({ min: -1000, max: 1000 }),
          }),
          { selector: (point) => point.offset, minLength: 1, maxLength: 30 },
        )
        await fc.assert(
          fc.asyncProperty(series, fc.constantFrom(...aggregations), async (points, aggregation) => {
            const deviceId = device()
            await write(deviceId, ...points.map((p) => at(start + BigInt(p.offset) * second, { v: p.value })))
            const got = await store.aggregate({
              deviceId,
              field: 'v',
              aggregation,
              bounds: { every: 3600 },
              from: start,
              to: start + 2n * hour,
            })
            const expected = [1, 0].flatMap((w) => {
              const inside = points
                .filter((p) => Math.floor(p.offset / 3600) === w)
                .sort((a, b) => a.offset - b.offset)
                .map((p) => p.value)
              return inside.length === 0
                ? []
                : [{ time: start + BigInt(w) * hour, value: plain[aggregation](inside) }]
            })
            expect(got.map((w) => w.time)).toEqual(expected.map((w) => w.time))
            for (const [n, w] of got.entries())
              expect(w.values.v as number).toBeCloseTo(expected[n]?.value ?? Number.NaN, 9)
          }),
          { numRuns: 40 },
        )
      })
    })

    it('reads back any accepted sequence of readings', async () => {
      const name = fc
        .stringMatching(/^[A-Za-z0-9.:/%°#@&+()$温é-][A-Za-z0-9_.:/%°#@&+()$温é -]{0,20}$/)
        .map((text) => text.trimEnd())
      const value = fc.oneof(
        fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (n === 0 ? 0 : n)),
        fc.boolean(),
        fc.string({ unit: 'grapheme', maxLength: 40 }),
        fc.string({ unit: fc.constantFrom(...'\r\n\t\0"\\,= \uE00D01|\u2028'), maxLength: 12 }),
      )
      const reading = fc.record({
        offset: fc.bigInt({ min: 0n, max: 20n }),
        fields: fc.dictionary(name, value, { minKeys: 1, maxKeys: 6, noNullPrototype: true }),
      })
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.array(reading, { minLength: 1, maxLength: 5 }), { maxLength: 5 }),
          async (writes) => {
            const deviceId = device()
            const expected = new Map<bigint, Record<string, FieldValue>>()
            for (const readings of writes) {
              await write(deviceId, ...readings.map(({ offset, fields }) => at(start + offset, fields)))
              for (const { offset, fields } of readings) {
                expected.set(start + offset, { ...expected.get(start + offset), ...fields })
              }
            }
            const sorted = [...expected]
              .sort(([a], [b]) => (a < b ? -1 : 1))
              .map(([time, fields]) => at(time, fields))
            expect(await history(deviceId)).toEqual(sorted)
          },
        ),
        { numRuns: 40 },
      )
    })

    it('writes a batch of entries in their order, with one outcome for each', async () => {
      const [one, other, nobody] = [device(), device(), device()]
      const outcomes = await store.write([
        entry(one, [at(start, { a: 1, b: 1 })]),
        entry(other, [at(start, { a: 2 }), at(start + 1n, { a: 3 })]),
        entry(nobody, []),
        entry(one, [at(start, { a: 4 })]),
      ])
      expect(outcomes).toEqual(Array(4).fill({ refused: [] }))
      expect(await history(one)).toEqual([at(start, { a: 4, b: 1 })])
      expect(await store.count(other)).toBe(2)
      expect(await store.write([])).toEqual([])
    })

    it('takes many writes at once and keeps them all', async () => {
      const ids = Array.from({ length: 20 }, device)
      const batches = Array.from({ length: 50 }, (_, n) =>
        ids.map((id) => entry(id, [at(start + BigInt(n), { n, id })])),
      )
      const outcomes = await Promise.all(batches.map((batch) => store.write(batch)))
      expect(outcomes.flat()).toEqual(Array(1000).fill({ refused: [] }))
      for (const id of ids) expect(await store.count(id)).toBe(50)
    })

    it('counts what is new enough, of all devices', async () => {
      const id = device()
      const from = start + 8n * day
      const before = await store.countSince(from)
      await write(id, at(from - 1n, { a: 1 }), at(from, { a: 1 }), at(from + 1n, { a: 'x' }))
      expect(await store.countSince(from)).toBe(before + 2)
    })

    it('is found usable', async () => {
      await expect(store.check()).resolves.toBeUndefined()
    })
  })
}

const sum = (values: number[]) => values.reduce((total, value) => total + value, 0)

const plain: Record<Aggregation, (values: number[]) => number> = {
  mean: (values) => sum(values) / values.length,
  sum,
  count: (values) => values.length,
  min: (values) => Math.min(...values),
  max: (values) => Math.max(...values),
  first: (values) => values[0] ?? Number.NaN,
  last: (values) => values.at(-1) ?? Number.NaN,
  median: (values) => {
    const sorted = values.toSorted((a, b) => a - b)
    const half = sorted.length / 2
    return sum(sorted.slice(Math.ceil(half) - 1, Math.floor(half) + 1)) / (sorted.length % 2 === 0 ? 2 : 1)
  },
}
