import { describe, expect, it } from 'vitest'
import { Journal } from '../../simulators/journal.ts'
import { compare, instantOf, type StoredReading } from '../../simulators/readback.ts'

const values = { temperature: 21.5, humidity: 40, open: false, mode: 'auto' }
const run = 'a1b2c3'
const at = Date.parse('2030-01-01T00:00:00.500Z')

/** Three readings, each a second after the one before. */
const journalOf = (...marks: readonly ('acknowledged' | 'unsure' | 'refused' | 'waiting')[]) => {
  const journal = new Journal()
  for (const [number, mark] of marks.entries()) journal.mark(journal.add(at + 1000 * number, values), mark)
  return journal
}
const stored = (
  number: number,
  changed: Partial<StoredReading> & { fields?: object } = {},
): StoredReading => ({
  timestamp: new Date(at + 1000 * number).toISOString(),
  metadata: { run, sequence: String(number) },
  ...changed,
  values: { ...values, ...changed.fields },
})
const three = journalOf('acknowledged', 'acknowledged', 'acknowledged')
const check = (journal: Journal, back: readonly StoredReading[], clockErrorMs = 0) =>
  compare({ journal, run, clockErrorMs }, back)

describe('comparing sent readings with stored ones', () => {
  it('finds no fault when everything is stored, in any order', () => {
    expect(check(three, [stored(2), stored(0), stored(1)])).toEqual({ found: 3, faults: [], unexpected: 0 })
  })

  it('finds a missing reading', () => {
    const { found, faults } = check(three, [stored(0), stored(2)])
    expect(found).toBe(2)
    expect(faults).toMatchObject([{ kind: 'missing', timestamp: '2030-01-01T00:00:01.500Z' }])
  })

  it.each([
    ['another value', { temperature: 21.500_000_1 }, 'temperature was sent as 21.5 and reads 21.5000001'],
    ['another type', { humidity: '40' }, 'humidity was sent as 40 and reads "40"'],
    ['a number for a boolean', { open: 0 }, 'open was sent as false and reads 0'],
    ['a missing field', { mode: undefined }, 'mode was sent as "auto" and reads nothing'],
    ['an additional field', { colour: 'red' }, 'colour was sent as nothing and reads "red"'],
  ])('finds %s', (_, fields, what) => {
    const { faults } = check(three, [stored(0), stored(1, { fields }), stored(2)])
    expect(faults).toMatchObject([{ kind: 'altered', what }])
  })

  it('finds a time that moved by a microsecond', () => {
    const { faults } = check(three, [
      stored(0),
      stored(1, { timestamp: '2030-01-01T00:00:01.500001Z' }),
      stored(2),
    ])
    expect(faults).toMatchObject([{ kind: 'altered', what: expect.stringContaining('01.500001Z') }])
  })

  it('accepts any time for a clock that is wrong', () => {
    const back = [stored(0), stored(1, { timestamp: '2031-01-01T00:00:00Z' }), stored(2)]
    expect(check(three, back, 3_600_000).faults).toEqual([])
  })

  it('finds a reading that is there twice', () => {
    const again = stored(1, { timestamp: '2030-01-01T00:00:01.501Z' })
    expect(check(three, [stored(0), stored(1), again, stored(2)])).toMatchObject({
      found: 3,
      faults: [{ kind: 'duplicated' }],
    })
  })

  it('counts a reading of this run that the device never sent as unexpected', () => {
    const waiting = journalOf('acknowledged', 'waiting')
    expect(check(waiting, [stored(0), stored(1), stored(7)])).toEqual({ found: 1, faults: [], unexpected: 2 })
  })

  it('leaves out readings of other runs', () => {
    const other = stored(0, { timestamp: '2030-01-01T00:00:09Z', metadata: { run: 'other', sequence: '0' } })
    const plain = stored(0, { timestamp: '2030-01-01T00:00:08Z', metadata: {} })
    expect(check(journalOf('acknowledged'), [stored(0), other, plain])).toEqual({
      found: 1,
      faults: [],
      unexpected: 0,
    })
  })

  it.each(['unsure', 'refused'] as const)('accepts that an %s reading is stored or not', (mark) => {
    expect(check(journalOf(mark), [])).toEqual({ found: 0, faults: [], unexpected: 0 })
    expect(check(journalOf(mark), [stored(0)])).toEqual({ found: 1, faults: [], unexpected: 0 })
  })
})

describe('times', () => {
  it('are equal whatever the number of their digits is', () => {
    expect(instantOf('2030-01-01T00:00:01Z')).toBe(instantOf('2030-01-01T00:00:01.000Z'))
    expect(instantOf('2030-01-01T00:00:01.500Z')).toBe(instantOf('2030-01-01T00:00:01.500000000Z'))
  })

  it('differ by as little as a nanosecond', () => {
    expect(instantOf('2030-01-01T00:00:01.000000001Z')).toBe(1_893_456_001_000_000_001n)
  })

  it.each(['', 'now', '2030-13-01T00:00:00Z', '2030-01-01T00:00:00', undefined, 5])('are not %j', (text) => {
    expect(instantOf(text)).toBeUndefined()
  })
})
