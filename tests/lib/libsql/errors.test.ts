import { describe, expect, it } from 'vitest'
import { AppError } from '../../../lib/errors.ts'
import { busyAsUnavailable, isBusy, isUniqueViolation } from '../../../lib/libsql/errors.ts'

const coded = (code: string, message = '', more = {}) => Object.assign(new Error(message), { code, ...more })
const wrapped = (cause: unknown) => new Error('Failed query', { cause })

describe('a busy database', () => {
  it.each(['SQLITE_BUSY', 'SQLITE_LOCKED'])('with %s is UNAVAILABLE, also as a cause', (code) => {
    const error = wrapped(coded(code))
    expect(isBusy(error)).toBe(true)
    const shown = busyAsUnavailable(error)
    expect(shown).toBeInstanceOf(AppError)
    expect(shown).toMatchObject({ code: 'UNAVAILABLE', retryAfterS: 2, cause: error })
  })

  it('is no other error', () => {
    for (const error of [coded('SQLITE_FULL'), new Error('SQLITE_BUSY'), 'SQLITE_BUSY', undefined]) {
      expect(isBusy(error)).toBe(false)
      expect(busyAsUnavailable(error)).toBe(error)
    }
  })
})

it.each([
  [true, coded('SQLITE_CONSTRAINT_UNIQUE')],
  [true, wrapped(coded('SQLITE_CONSTRAINT', '', { extendedCode: 'SQLITE_CONSTRAINT_UNIQUE' }))],
  [true, wrapped(coded('SQLITE_CONSTRAINT', 'SQLite error: UNIQUE constraint failed: devices.name'))],
  [false, coded('SQLITE_CONSTRAINT', 'SQLite error: NOT NULL constraint failed: devices.name')],
  [false, new Error('UNIQUE constraint failed')],
])('that a value must be unique is %s for %o', (expected, error) => {
  expect(isUniqueViolation(error)).toBe(expected)
})
