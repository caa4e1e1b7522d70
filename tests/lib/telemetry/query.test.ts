import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { csvBytes, toCsv } from '../../../lib/telemetry/query.ts'
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
