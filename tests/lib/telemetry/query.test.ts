import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AggregateParameters, csvBytes, HistoryParameters, toCsv } from '../../../lib/telemetry/query.ts'
import type { Reading } from '../../../lib/telemetry/reading.ts'

const readings = fc.array(
  fc.record({
    time: fc.bigInt({ min: 0n, max: 10n ** 18n }),
    fields: fc.dictionary(
      fc.stringMatching(/^[a-z][\w.:-]{0,9}$/),
      fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean(), fc.string()),
    ),
    metadata: fc.option(fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), fc.string()), { nil: undefined }),
  }),
  { maxLength: 30 },
)

const weighed = (all: readonly Reading[]) => {
  const bytesOf = csvBytes()
  return all.reduce((bytes, reading) => bytes + bytesOf(reading), 64)
}

describe('a CSV answer', () => {
  it('is never longer than its readings were weighed', () => {
    fc.assert(
      fc.property(readings, (all) => {
        expect(Buffer.byteLength(toCsv(all as Reading[]))).toBeLessThanOrEqual(weighed(all as Reading[]))
      }),
    )
  })

  it('is weighed with the cells that other readings have and it has not', () => {
    const all = Array.from({ length: 200 }, (_, row) => ({
      time: BigInt(row),
      fields: Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`r${row}f${at}`, 1])),
    })) as unknown as Reading[]
    const length = Buffer.byteLength(toCsv(all))
    expect(length).toBeGreaterThan(200 * 10_000)
    expect(weighed(all)).toBeGreaterThanOrEqual(length)
    expect(weighed(all)).toBeLessThan(length * 1.2)
  })
})

describe('the names of fields in a query', () => {
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
    'a:b-c_d',
  ]

  it('are those under which values are stored', () => {
    expect(HistoryParameters.parse({ fields: names.join(',') }).fields).toEqual(names)
    for (const field of [...names, '*']) expect(AggregateParameters.parse({ field }).field).toBe(field)
  })

  it('are composed as those of devices', () => {
    expect(HistoryParameters.parse({ fields: 'Cafe\u0301' }).fields).toEqual(['Café'])
    expect(AggregateParameters.parse({ field: 'Cafe\u0301' }).field).toBe('Café')
  })

  it.each(['a,,b', 'a|s', '_a', ' a', 'a ', '"', 'a\\', 'a\n', 'x'.repeat(129), ','])(
    'are not %j',
    (fields) => {
      expect(HistoryParameters.safeParse({ fields }).success).toBe(false)
    },
  )

  it('are at most 64', () => {
    const some = (count: number) => Array.from({ length: count }, (_, n) => `f${n}`).join(',')
    expect(HistoryParameters.safeParse({ fields: some(64) }).success).toBe(true)
    expect(HistoryParameters.safeParse({ fields: some(65) }).success).toBe(false)
  })
})

describe('a CSV answer with names in any script', () => {
  it('quotes what needs it, and keeps every name', () => {
    const fields = { '温度 (°C)': 1.5, 'LW setpoint (main)': 'a, "b"', 'a%b': true }
    expect(toCsv([{ time: 0n, fields, metadata: undefined }])).toBe(
      'timestamp,LW setpoint (main),a%b,温度 (°C)\r\n1970-01-01T00:00:00Z,"a, ""b""",true,1.5\r\n',
    )
  })
})
