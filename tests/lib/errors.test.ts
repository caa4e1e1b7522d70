import { describe, expect, it } from 'vitest'
import { AppError, errorCode, knownError } from '../../lib/errors.ts'

const wrapped = (cause: unknown) => new Error('the words of a library', { cause })

describe('knownError', () => {
  it('finds an AppError among the causes, the outermost first', () => {
    const inner = new AppError('CONFLICT', 'inner')
    const outer = new AppError('NOT_FOUND', 'outer', { cause: inner })
    expect(knownError(inner)).toBe(inner)
    expect(knownError(wrapped(wrapped(inner)))).toBe(inner)
    expect(knownError(wrapped(outer))).toBe(outer)
  })

  it.each([undefined, null, 'text', new Error('none'), wrapped('text')])('finds none in %s', (error) => {
    expect(knownError(error)).toBeUndefined()
  })
})

describe('errorCode', () => {
  it.each([
    ['the code of an error', Object.assign(new Error(), { code: 'ECONNREFUSED' }), 'ECONNREFUSED'],
    [
      'the code of a cause',
      wrapped(wrapped(Object.assign(new Error(), { code: 'SQLITE_FULL' }))),
      'SQLITE_FULL',
    ],
    ['the code of an AppError', new AppError('UNAVAILABLE', 'text'), 'UNAVAILABLE'],
    ['no number', wrapped(Object.assign(new Error(), { code: 23 })), undefined],
    ['no text that is not a code', Object.assign(new Error(), { code: 'select * from t' }), undefined],
    ['nothing without an error', { code: 'EPIPE' }, undefined],
  ])('is %s', (_what, error, code) => {
    expect(errorCode(error)).toBe(code)
  })
})
