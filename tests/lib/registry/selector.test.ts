import { sql } from 'drizzle-orm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  fitsSelector,
  parseSelector,
  type Selector,
  selectorCondition,
  selectorText,
  type Term,
} from '../../../lib/registry/selector.ts'
import { startDevices } from '../../support/devices.ts'
import { describeRegistry } from '../../support/registry.ts'

/** Few keys and values, so that terms often fit; some are words of the language itself. */
const anyKey = fc.constantFrom('site', 'floor', 'in', 'notin', 'constructor', 'Site', 'a.b/c_d-e')
const anyValue = fc.constantFrom('', 'north', 'south', '2', 'in', 'x'.repeat(63))
const anyTerm: fc.Arbitrary<Term> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('in' as const, 'notin' as const),
    key: anyKey,
    values: fc.array(anyValue, { minLength: 1, maxLength: 3 }),
  }),
  fc.record({ kind: fc.constantFrom('present' as const, 'absent' as const), key: anyKey }),
)
const anySelector = fc.array(anyTerm, { minLength: 1, maxLength: 4 })
const anyLabels = fc.dictionary(anyKey, anyValue, { maxKeys: 5, noNullPrototype: true })

const written = (term: Term, blank: string): string => {
  switch (term.kind) {
    case 'present':
      return term.key
    case 'absent':
      return `!${blank}${term.key}`
    default: {
      const [only, ...others] = term.values
      if (others.length === 0) return `${term.key}${blank}${term.kind === 'in' ? '=' : '!='}${blank}${only}`
      return `${term.key} ${term.kind}${blank}(${term.values.join(`${blank},`)}${blank})`
    }
  }
}
const textOf = (selector: Selector, blank: string) =>
  selector.map((term) => written(term, blank)).join(`${blank},${blank}`)

describe('a selector', () => {
  it('is read as it was meant, with blanks anywhere', () => {
    fc.assert(
      fc.property(anySelector, fc.constantFrom('', ' ', '\t '), (selector, blank) => {
        expect(parseSelector(textOf(selector, blank))).toEqual(selector)
      }),
    )
  })

  it.each([
    ['', 'at character 1: a key was expected'],
    ['site=north,', 'at character 12: a key was expected'],
    ['site=north floor=2', 'at character 12: a comma or the end was expected'],
    ['site==north', 'at character 6: a comma or the end was expected'],
    ['-site', 'at character 1: this is no key of a label'],
    ['site=north, floor.=2', 'at character 13: this is no key of a label'],
    [`${'k'.repeat(64)}=1`, 'at character 1: this is no key of a label'],
    [`a=${'v'.repeat(64)}`, 'at character 3: this is no value of a label'],
    ['floor=_2', 'at character 7: this is no value of a label'],
    ['floor in 2', 'at character 10: values in parentheses were expected'],
    ['floor in (2', 'at character 12: a comma or ) was expected'],
    ['floor in (2;3)', 'at character 12: a comma or ) was expected'],
    ['!', 'at character 2: a key was expected'],
    ['!site=north', 'at character 6: a comma or the end was expected'],
    ["site='; drop table devices", 'at character 6: a comma or the end was expected'],
    [
      Array.from({ length: 17 }, (_, n) => `k${n}`).join(','),
      'at character 55: there are more than 16 terms',
    ],
  ])('%j is refused with the place', (text, message) => {
    expect(selectorText.safeParse(text).error?.issues).toMatchObject([{ message: `has an error ${message}` }])
  })

  it('ends in time and never throws anything else, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'ab1=!,() _./-in\n'), maxLength: 200 }), (text) => {
        selectorText.safeParse(text)
      }),
    )
    expect(selectorText.safeParse('a'.repeat(1025)).error?.issues).toMatchObject([
      { message: 'must have at most 1024 characters' },
    ])
    expect(selectorText.safeParse(7).success).toBe(false)
  })
})

describeRegistry('a selector in SQL', (place) => {
  it('means the same devices as its comparison with their labels', async () => {
    const { registry } = await (await startDevices(place)).connect()
    const { db } = registry
    const fleet = fc.sample(anyLabels, { numRuns: 60, seed: 22 })
    const rows = JSON.stringify(fleet)
    await db.run(sql`insert into devices (id, name, device_type, created_at, updated_at, labels)
      select key + 1, 'device ' || key, 'sensor', 0, 0, nullif(value, '{}') from json_each(${rows})`)
    await fc.assert(
      fc.asyncProperty(anySelector, fc.constantFrom('', ' '), async (selector, blank) => {
        const read = parseSelector(textOf(selector, blank))
        const found = await db.all<{ id: number }>(
          sql`select id from devices where ${selectorCondition(read)} order by id`,
        )
        const meant = fleet.flatMap((labels, at) => (fitsSelector(selector, labels) ? [at + 1] : []))
        expect(found.map(({ id }) => id)).toEqual(meant)
      }),
      { numRuns: 300 },
    )
  })

  it('looks devices up by the index of labels, whatever else is asked for', async () => {
    const { registry } = await (await startDevices(place)).connect()
    const planOf = async (text: string) => {
      const condition = selectorCondition(parseSelector(text))
      const rows = await registry.db.all<{ detail: string }>(
        sql`explain query plan select id from devices where +status = 'active' and ${condition} order by id limit 100`,
      )
      return rows.map(({ detail }) => detail).join('\n')
    }
    for (const text of [
      'serial=7',
      'site=north,serial=7',
      'floor!=2,site in (a,b)',
      '!old,site',
      'site!=a,site=b',
    ]) {
      const plan = await planOf(text)
      expect(plan, text).toContain('SEARCH devices USING INTEGER PRIMARY KEY')
      expect(plan, text).toContain('device_labels_key_value (key=?')
      expect(plan, text).not.toMatch(/SCAN (devices|device_labels)/)
    }
  })
})
