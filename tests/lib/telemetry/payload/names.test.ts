import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  fieldName,
  fieldNamePattern,
  isFieldName,
  isReserved,
  isSecretName,
  nameBeginning,
  timeNameOf,
} from '../../../../lib/telemetry/payload/names.ts'

const whole = new RegExp(`^(?:${fieldNamePattern})$`, 'u')

describe('a name', () => {
  it.each([
    'temperature',
    'PM2.5',
    'relay/0',
    'LW setpoint (main)',
    'a-b:c_d',
    'load%',
    'Außen °C',
    '#1@x&y+z$',
    '温度',
    'درجة الحرارة',
    'नमी',
    'CO₂',
    '0',
    'x'.repeat(128),
    '温'.repeat(128),
    '𝒳'.repeat(128),
  ])('%j is kept as it was sent', (name) => {
    expect(fieldName(name)).toEqual({ name, changed: false })
    expect(isFieldName(name)).toBe(true)
    expect(name).toMatch(whole)
  })

  it('of more than 1024 units is not composed, because that takes the square of its length', () => {
    const longest = '\u03b1\u0313\u0300\u0345'.repeat(128)
    expect(fieldName(longest)).toEqual({ name: '\u1f82'.repeat(128), changed: false })
    expect(fieldName(`${'_'.repeat(1023)}a`)).toEqual({ name: 'a', changed: true })
    expect(fieldName(`${'_'.repeat(1024)}a`)).toBeUndefined()
    expect(nameBeginning(`${'_'.repeat(1023)}a`)).toEqual({ name: 'a', changed: true })
    expect(nameBeginning(`${'_'.repeat(1024)}a`)).toBeUndefined()
    expect(isSecretName(`${'_'.repeat(1024)}api_key`)).toBe(true)
  })

  it.each([
    ['a"b', 'a_b'],
    ["l'eau", 'l_eau'],
    ['a,b=c', 'a_b_c'],
    ['a\nb', 'a_b'],
    ['a\u0000', 'a_'],
    ['a\u00a0b', 'a_b'],
    ['\ud800x', 'x'],
    ['_type', 'type'],
    [' _ a b ', 'a b'],
    ['__proto__', 'proto__'],
    ['🌡temp', 'temp'],
    ['[0]', '0_'],
    [`${'_'.repeat(500)}a`, 'a'],
  ])('%j becomes %j', (sent, name) => {
    expect(fieldName(sent)).toEqual({ name, changed: true })
    expect(isFieldName(sent)).toBe(false)
    expect(sent).not.toMatch(whole)
  })

  it.each(['', ' ', '_', '___', '🌡', '"', `n${'x'.repeat(128)}`, '温'.repeat(129)])('%j is none', (sent) => {
    expect(fieldName(sent)).toBeUndefined()
    expect(isFieldName(sent)).toBe(false)
  })

  it('is the same in both Unicode forms, which is no change', () => {
    expect(fieldName('Cafe\u0301')).toEqual({ name: 'Café', changed: false })
    expect(isFieldName('Cafe\u0301')).toBe(false)
  })

  it('is one that stays the same, whatever was sent', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 140 }),
      fc.string({ unit: 'grapheme', maxLength: 140 }),
      fc.string({
        unit: fc.constantFrom('a', '_', ' ', '.', ',', '\u0301', 'e', '\ud800', 'é'),
        maxLength: 20,
      }),
    )
    fc.assert(
      fc.property(text, (sent) => {
        const found = fieldName(sent)
        if (found === undefined) return
        expect(fieldName(found.name)).toEqual({ name: found.name, changed: false })
        expect(isFieldName(found.name)).toBe(true)
        expect(found.name).toMatch(whole)
        expect(isFieldName(sent)).toBe(found.name === sent)
        if (!found.changed) expect(found.name).toBe(sent.normalize('NFC'))
      }),
      { numRuns: 2000 },
    )
  })
})

describe('reserved names', () => {
  it.each([
    'timestamp',
    'Time',
    'TS',
    'tst',
    'age_ms',
    'device_id',
    'device_type',
    'location',
    'received_at',
    'metadata',
    'message_id',
    'api_key',
    'API_KEY',
    'meta_x',
    'meta_',
  ])('%s is one', (name) => expect(isReserved(name)).toBe(true))

  it.each([
    'temperature',
    'TST',
    'Location',
    'gps.time',
    'location.latitude',
    'timestamps',
    'metadata.a',
    'meta',
    'api_keys',
    'data',
    'values',
  ])('%s is none', (name) => expect(isReserved(name)).toBe(false))

  it('name times in their order', () => {
    expect(['Timestamp', 'tS', 'TIME', 'tst', 'x'].map(timeNameOf)).toEqual([
      'timestamp',
      'ts',
      'time',
      'tst',
      undefined,
    ])
  })
})

describe('the name of the key', () => {
  it.each([
    'api_key',
    'Api_Key',
    '_api_key',
    ' api_key ',
    'api\u0000key',
    'auth.api_key',
    'api_key.0',
    'a.api_key.b',
    `${'a.'.repeat(100)}api_key`,
  ])('is %j', (name) => expect(isSecretName(name)).toBe(true))

  it.each(['api_keys', 'my_api_key', 'apikey', 'key', 'api_key_hint'])('is not %j', (name) => {
    expect(isSecretName(name)).toBe(false)
  })
})
