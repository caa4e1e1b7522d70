import { describe, expect, it } from 'vitest'
import { conditionOf, conditionText, targetText } from '../../cli/alert/condition.ts'

const nothing = { data: true } as const
const threshold = (when: string) => conditionOf({ ...nothing, when })

describe('--when', () => {
  it.each([
    ['temperature > 30', { field: 'temperature', op: '>', value: 30 }],
    ['temperature>=-1.5e2', { field: 'temperature', op: '>=', value: -150 }],
    ['  room.air temperature <= .5 ', { field: 'room.air temperature', op: '<=', value: 0.5 }],
    ['door == open', { field: 'door', op: '==', value: 'open' }],
    ['door != "wide open"', { field: 'door', op: '!=', value: 'wide open' }],
    ['code == "30"', { field: 'code', op: '==', value: '30' }],
    ["code == 'true'", { field: 'code', op: '==', value: 'true' }],
    ['pump.on == true', { field: 'pump.on', op: '==', value: true }],
    ['pump.on != false', { field: 'pump.on', op: '!=', value: false }],
    ['größe < 3', { field: 'größe', op: '<', value: 3 }],
  ])('%s', (text, parts) => {
    expect(threshold(text)).toEqual({ kind: 'threshold', ...parts })
  })

  it.each([
    '',
    'temperature',
    'temperature >',
    '> 30',
    'temperature = 30',
    'temperature => 30',
    'a > = 3',
    'a === 3',
  ])('%o is refused', (text) => {
    expect(() => threshold(text)).toThrow('--when must be a field')
  })
})

describe('the options of a condition', () => {
  const full = {
    kind: 'threshold',
    field: 't',
    op: '>',
    value: 30,
    for: '5m',
    clear_value: 28,
    clear_for: '1m',
  }

  it.each([
    [{ ...nothing, when: 't > 30', for: '5m', clear: '28', clearFor: '1m' }, full],
    [{ data: '10m' }, { kind: 'no_data', for: '10m' }],
    [
      { ...nothing, offline: true, for: '2m' },
      { kind: 'offline', for: '2m' },
    ],
    [
      { ...nothing, warnings: '10', within: '1h' },
      { kind: 'warnings', count: 10, within: '1h' },
    ],
    [
      { ...nothing, deadLetters: '5', within: '1d' },
      { kind: 'dead_letters', count: 5, within: '1d' },
    ],
    [nothing, undefined],
  ])('%j', (options, condition) => {
    expect(conditionOf(options)).toEqual(condition)
  })

  it.each([
    [{ ...nothing, when: 't > 30', offline: true }, 'A rule has one condition'],
    [{ data: '10m', for: '5m' }, '--for does not go with --no-data'],
    [{ ...nothing, offline: true, clear: '3' }, '--clear does not go with --offline'],
    [{ ...nothing, when: 't > 30', within: '1h' }, '--within does not go with --when'],
    [{ ...nothing, warnings: '10' }, '--warnings needs --within'],
    [{ ...nothing, warnings: '0', within: '1h' }, '--warnings must be a whole number from 1'],
    [{ ...nothing, when: 't > 30', clear: 'cool' }, '--clear must be a number'],
    [{ ...nothing, for: '5m' }, 'Name a condition'],
  ])('%j is refused', (options, sentence) => {
    expect(() => conditionOf(options)).toThrow(sentence)
  })

  it('without another kind change the condition that is there', () => {
    expect(conditionOf({ ...nothing, for: '10m', clear: '' }, full)).toEqual({
      kind: 'threshold',
      field: 't',
      op: '>',
      value: 30,
      for: '10m',
      clear_for: '1m',
    })
    expect(() => conditionOf({ ...nothing, within: '1h' }, full)).toThrow('--within does not go with --when')
    expect(conditionOf(nothing, full)).toBeUndefined()
    expect(full.for).toBe('5m')
  })

  it('with the same kind keep its other parts, and with another kind nothing', () => {
    expect(conditionOf({ ...nothing, when: 'h < 3' }, full)).toEqual({
      ...full,
      field: 'h',
      op: '<',
      value: 3,
    })
    const counted = { kind: 'warnings', count: 10, within: '1h' }
    expect(conditionOf({ ...nothing, warnings: '20' }, counted)).toEqual({ ...counted, count: 20 })
    expect(conditionOf({ data: '10m' }, full)).toEqual({ kind: 'no_data', for: '10m' })
    expect(() => conditionOf({ ...nothing, deadLetters: '3' }, counted)).toThrow('needs --within')
  })
})

describe('a line for people', () => {
  it.each([
    [
      { kind: 'threshold', field: 't', op: '>', value: 30, for: '5m', clear_value: 28, clear_for: '1m' },
      't > 30 for 5m, clears at 28 after 1m',
    ],
    [{ kind: 'threshold', field: 't', op: '>', value: 0, clear_value: 0 }, 't > 0, clears at 0'],
    [{ kind: 'threshold', field: 'door', op: '==', value: 'open' }, 'door == "open"'],
    [{ kind: 'threshold', field: 'on', op: '!=', value: true }, 'on != true'],
    [{ kind: 'no_data', for: '10m' }, 'no data for 10m'],
    [{ kind: 'offline' }, 'offline'],
    [{ kind: 'offline', for: '2m' }, 'offline for 2m'],
    [{ kind: 'warnings', count: 10, within: '1h' }, '10 warnings within 1h'],
    [{ kind: 'dead_letters', count: 1, within: '1h' }, '1 dead letter within 1h'],
  ])('%j', (condition, text) => {
    expect(conditionText(condition)).toBe(text)
  })

  it.each([
    [{}, 'all devices'],
    [{ device_id: 7 }, 'device 7'],
    [{ device_type: 'pump', selector: 'site=north,floor!=2' }, 'type pump, site=north,floor!=2'],
  ])('%j', (target, text) => {
    expect(targetText(target)).toBe(text)
  })
})
