import { describe, expect, it } from 'vitest'
import { assignAxes } from '../../dashboard/charts/axes.ts'
import { unseenStretches } from '../../dashboard/charts/dots.ts'
import {
  panned,
  partsOf,
  presets,
  readRange,
  windowFor,
  writeRange,
  zoomed,
} from '../../dashboard/charts/range.ts'
import { type Row, Table } from '../../dashboard/charts/table.ts'
import { timeTexts } from '../../dashboard/charts/time-axis.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')
const minute = 60_000
const day = 86_400_000

const at = (ms: number, values: Record<string, unknown>): Row => ({
  timestamp: new Date(ms).toISOString(),
  ...values,
})

describe('the range of a chart', () => {
  it('asks for at most one window for each pixel, whatever the range', () => {
    for (const { ms } of presets)
      for (const pixels of [320, 800, 1600]) {
        const span = { from: noon - ms, to: noon }
        const window = windowFor(span, pixels)
        expect(ms / window.ms).toBeLessThanOrEqual(pixels)
        // Nor far fewer, where windows are not as short as they can be.
        if (window.ms > 1000) expect(ms / window.ms).toBeGreaterThan(pixels / 4)
      }
  })

  it('is read back from the address as it was written', () => {
    for (const { ms } of presets) expect(readRange(writeRange({ lastMs: ms }))).toEqual({ lastMs: ms })
    const span = { from: noon - day, to: noon }
    expect(readRange(writeRange(span))).toEqual(span)
    for (const wrong of ['', 'forever', '5-4', '1e3-2e3', '-1-5']) expect(readRange(wrong)).toBeUndefined()
  })

  it('splits a long range into parts that meet at bounds of windows, the newest first', () => {
    const span = { from: noon - 365 * day + 123, to: noon + 456 }
    const parts = partsOf(span, 12 * 60 * minute)
    expect(parts.length).toBeGreaterThan(2)
    expect([parts[0]?.to, parts.at(-1)?.from]).toEqual([span.to, span.from])
    for (const [n, part] of parts.entries()) {
      if (n === 0) continue
      expect(part.to).toBe(parts[n - 1]?.from)
      expect(part.to % (12 * 60 * minute)).toBe(0)
    }
    expect(partsOf({ from: noon - day, to: noon }, minute)).toHaveLength(1)
  })

  it('pans and zooms, and never goes beyond now', () => {
    const span = { from: noon - 60 * minute, to: noon - 30 * minute }
    expect(panned(span, -1, noon)).toEqual({ from: noon - 90 * minute, to: noon - 60 * minute })
    expect(panned(span, 9, noon).to).toBe(noon)
    expect(zoomed(span, 0.5, 0, noon)).toEqual({ from: span.from, to: span.from + 15 * minute })
    expect(zoomed(span, 8, 0.5, noon).to).toBe(noon)
    const narrow = zoomed(span, 1e-9, 0.5, noon)
    expect(narrow.to - narrow.from).toBe(10_000)
  })
})

describe('the points of a chart', () => {
  it('stand in the order of their times, whatever the order of their arrival', () => {
    const table = new Table()
    table.add([at(noon + 2000, { a: 3 }), at(noon, { a: 1, b: true }), at(noon + 1000, { a: 2, text: 'x' })])
    expect(table.columns(['a', 'b'], 0)).toEqual([
      [noon, noon + 1000, noon + 2000].map((ms) => ms / 1000),
      [1, 2, 3],
      [1, undefined, undefined],
    ])
  })

  it('replace an earlier value of the same time, and take the values of windows for their field', () => {
    const table = new Table()
    table.add([at(noon, { value: 1 })], 'a')
    table.add([at(noon, { value: 2 })], 'a')
    table.add([at(noon, { value: null }), at(noon + minute, { value: 5 })], 'b')
    expect(table.columns(['a', 'b'], minute)).toEqual([
      [noon / 1000, noon / 1000 + 60],
      [2, undefined],
      [undefined, 5],
    ])
  })

  it('break a line where its field pauses, and only that line', () => {
    const table = new Table()
    for (let n = 0; n < 30; n += 1) {
      table.add([at(noon + n * 1000, { steady: n })])
      if (n < 10 || n >= 20) table.add([at(noon + n * 1000, { pausing: n })])
    }
    const [times, steady, pausing] = table.columns(['steady', 'pausing'], 0)
    expect(steady).not.toContain(null)
    expect(pausing?.filter((value) => value === null)).toHaveLength(1)
    const pause = times[pausing?.indexOf(null) ?? 0] as number
    expect(pause).toBeGreaterThan(noon / 1000 + 9)
    expect(pause).toBeLessThan(noon / 1000 + 20)
  })

  it('do not break a line whose device sends less often than there are windows', () => {
    const table = new Table()
    for (let n = 0; n < 20; n += 1) table.add([at(noon + n * 10 * minute, { value: n })], 'slow')
    expect(table.columns(['slow'], minute)[1]).not.toContain(null)
  })

  it('are forgotten when they have left the chart, and never more than 20,000', () => {
    const table = new Table()
    for (let n = 0; n < 25_000; n += 1) table.add([at(noon + n, { a: n })])
    expect(table.size).toBe(20_000)
    table.dropBefore(noon + 24_990)
    expect([...table.values('a')].map(([, value]) => value)).toEqual(
      Array.from({ length: 10 }, (_, n) => 24_990 + n),
    )
    expect(table.columns(['a'], 0)[0]).toHaveLength(10)
  })
})

describe('the dots of a chart', () => {
  it('mark what is alone between pauses, and a stretch that is shorter than a line can be seen', () => {
    const times = [0, 10, 20, 21, 30, 40, 50, 60, 61]
    expect(unseenStretches(times, [1, null, 1, 2, null, 3, 3, null, 7], 2)).toEqual([0, 3, 8])
    expect(unseenStretches(times, [1, null, 1, 2, null, 3, 3, null, 7], 1)).toEqual([0, 8])
  })

  it('do not break a line where its field is no part of a point', () => {
    expect(unseenStretches([0, 10, 20], [1, undefined, 2], 5)).toEqual([])
    expect(unseenStretches([0, 10, 20], [undefined, 1, undefined], 5)).toEqual([1])
    expect(unseenStretches([], [], 5)).toEqual([])
  })
})

describe('the axes of a chart', () => {
  const temperature = { field: 'temperature', min: 18, max: 24 }
  const humidity = { field: 'humidity', min: 40, max: 60 }
  const pressure = { field: 'pressure', min: 990, max: 1030 }

  it('put fields of one size on one axis', () => {
    const other = { field: 'outside', min: 10, max: 20 }
    expect(assignAxes([temperature, other])).toEqual({
      left: ['temperature', 'outside'],
      right: [],
      squeezed: [],
    })
  })

  it('put a field on the second axis that would be flat on the first one', () => {
    expect(assignAxes([temperature, pressure])).toEqual({
      left: ['temperature'],
      right: ['pressure'],
      squeezed: [],
    })
  })

  it('say which fields no axis shows well', () => {
    const tiny = { field: 'ratio', min: 0, max: 1 }
    expect(assignAxes([temperature, pressure, tiny]).squeezed).toEqual(['ratio'])
  })

  it('put different units on different axes', () => {
    const axes = assignAxes([
      { ...humidity, unit: '%' },
      { ...humidity, field: 'noise', unit: 'dB' },
      { ...humidity, field: 'soil', unit: '%' },
    ])
    expect(axes).toEqual({ left: ['humidity', 'soil'], right: ['noise'], squeezed: [] })
  })

  it('give a value that never changes a place', () => {
    expect(
      assignAxes([
        { field: 'a', min: 5, max: 5 },
        { field: 'b', min: 5, max: 5 },
      ]).left,
    ).toEqual(['a', 'b'])
  })
})

describe('the times below a chart', () => {
  it('tell the day where it changes', () => {
    const times = [0, 6, 12, 18, 24, 30].map((hours) => noon / 1000 + hours * 3600)
    const texts = timeTexts(times, 6 * 3600)
    expect(texts.filter((text) => text.includes('\n'))).toHaveLength(2)
    expect(texts[0]).toContain('\n')
  })
})
