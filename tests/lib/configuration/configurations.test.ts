import { describe, expect, it } from 'vitest'
import {
  applyChanges,
  type Configuration,
  configurationView,
  dataTypeOf,
  documentOf,
  maxKeys,
  typedValue,
} from '../../../lib/configuration/configurations.ts'
import { AppError } from '../../../lib/errors.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')
const empty: Configuration = { version: 0, entries: {}, reportedVersion: null, reportedAt: null }

describe('a value', () => {
  it.each([
    ['text', 'string', 'text'],
    [5, 'string', undefined],
    [5, 'integer', 5],
    ['5', 'integer', 5],
    [5.5, 'integer', undefined],
    ['2.5', 'float', 2.5],
    ['1e999', 'float', undefined],
    ['true', 'boolean', true],
    [false, 'boolean', false],
    ['yes', 'boolean', undefined],
    ['{"a":[1]}', 'json', { a: [1] }],
    [[1], 'json', [1]],
    ['{', 'json', undefined],
    ['[1e999]', 'json', undefined],
    [`${'['.repeat(101)}${']'.repeat(101)}`, 'json', undefined],
  ] as const)('%j of the type %s becomes %j', (value, type, typed) => {
    expect(typedValue(value, type)).toEqual(typed)
  })

  it.each([
    ['text', 'string'],
    [true, 'boolean'],
    [5, 'integer'],
    [5.5, 'float'],
    [2 ** 60, 'float'],
    [[1], 'json'],
    [null, 'json'],
  ] as const)('%j without a type has the type %s', (value, type) => {
    expect(dataTypeOf(value)).toBe(type)
  })
})

describe('changes', () => {
  const integer = (value: number) => ({ value, dataType: 'integer' }) as const
  const refused = (change: () => unknown): AppError => {
    try {
      change()
    } catch (error) {
      if (error instanceof AppError) return error
    }
    throw new Error('the change was accepted')
  }

  it('set and delete keys, and leave the others with their time', () => {
    const entries = applyChanges(empty, { a: integer(1), b: integer(2) }, noon)
    expect(
      applyChanges({ ...empty, version: 1, entries }, { a: integer(3), b: null, c: null }, noon + 5),
    ).toEqual({
      a: { value: 3, data_type: 'integer', updated_at: '2026-03-01T12:00:00.005Z' },
    })
    expect(applyChanges({ ...empty, version: 1, entries }, {}, noon + 5)).toEqual(entries)
  })

  it('are refused above the number of keys, and accepted when they delete as many', () => {
    const full = applyChanges(
      empty,
      Object.fromEntries(Array.from({ length: maxKeys }, (_, i) => [`key${i}`, integer(i)])),
      noon,
    )
    const before = { ...empty, version: 1, entries: full }
    const error = refused(() => applyChanges(before, { more: integer(1) }, noon))
    expect(error).toMatchObject({
      code: 'VALIDATION_FAILED',
      message: 'A device has at most 128 configuration keys.',
    })
    expect(Object.keys(applyChanges(before, { more: integer(1), key0: null }, noon))).toHaveLength(maxKeys)
  })

  it('are refused above the size of one message', () => {
    const text = (length: number) => ({ long: { value: 'x'.repeat(length), dataType: 'string' } }) as const
    const room =
      128 * 1024 -
      Buffer.byteLength(documentOf(1, { long: { value: '', data_type: 'string', updated_at: '' } }))
    expect(applyChanges(empty, text(room), noon)).toHaveProperty('long')
    expect(refused(() => applyChanges(empty, text(room + 1), noon))).toMatchObject({
      code: 'VALIDATION_FAILED',
      details: [{ path: '', message: 'makes 131073 bytes: at most 131072 reach a device' }],
    })
  })
})

it('is shown with its types, and published with its values only', () => {
  const entries = { a: { value: 1, data_type: 'integer', updated_at: '2026-03-01T12:00:00Z' } } as const
  expect(configurationView({ version: 2, entries, reportedVersion: 1, reportedAt: noon })).toEqual({
    version: 2,
    reported_version: 1,
    reported_at: '2026-03-01T12:00:00Z',
    configuration: entries,
  })
  expect(configurationView(empty)).toEqual({
    version: 0,
    reported_version: null,
    reported_at: null,
    configuration: {},
  })
  expect(documentOf(2, entries)).toBe('{"version":2,"configuration":{"a":1}}')
})
