import { expect, it } from 'vitest'
import { csvLine, withoutFormula } from '../../lib/csv.ts'

it.each([
  ['=HYPERLINK("http://example.com")', `'=HYPERLINK("http://example.com")`],
  ['+1+1', `'+1+1`],
  ["-2+cmd|' /C calc'!A0", `'-2+cmd|' /C calc'!A0`],
  ['@SUM(A1)', `'@SUM(A1)`],
  ['\t=1', `'\t=1`],
  ['-21.5', '-21.5'],
  ['plain = text', 'plain = text'],
  [-21.5, -21.5],
  [null, null],
])('lets no spreadsheet run %j', (value, written) => {
  expect(withoutFormula(value)).toBe(written)
})

it('writes cells as RFC 4180 says', () => {
  expect(csvLine(['a,b', 'say "x"', null, { n: 1 }, 'line\nbreak'])).toBe(
    '"a,b","say ""x""",,"{""n"":1}","line\nbreak"\r\n',
  )
})
