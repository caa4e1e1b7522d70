import { describe, expect, it } from 'vitest'
import { labelChanges, labelLines, parseLabels } from '../../dashboard/labels.ts'
import type { AlertRule, Condition } from '../../dashboard/pages/alerts/answers.ts'
import { draftOf, parseValue, ruleOf } from '../../dashboard/pages/alerts/rule-draft.ts'
import { clearText, durationText, ruleSentence, typedDuration } from '../../dashboard/pages/alerts/words.ts'

const ruleWith = (condition: Condition, target: AlertRule['target'] = {}): AlertRule => ({
  id: 1,
  revision: 1,
  name: 'a rule',
  enabled: true,
  severity: 'critical',
  target,
  condition,
  created_at: '2026-01-01T00:00:00Z',
  updated_at: '2026-01-01T00:00:00Z',
  open_alerts: 0,
})

const warm: Condition = { kind: 'threshold', field: 'temperature', op: '>', value: 30, for: '5m' }

describe('a rule in words', () => {
  it('says what it looks at, for how long, and where', () => {
    const sentences = (
      [
        [warm, { selector: 'site=north' }],
        [{ kind: 'threshold', field: 'mode', op: '!=', value: 'auto' }, { device_id: 7 }],
        [
          { kind: 'no_data', for: '1h30m' },
          { device_type: 'pump', selector: 'floor=1' },
        ],
        [{ kind: 'offline' }, {}],
        [{ kind: 'warnings', count: 1, within: '1d' }, {}],
        [{ kind: 'dead_letters', count: 3, within: '60s' }, {}],
      ] as const
    ).map(([condition, target]) => ruleSentence(ruleWith(condition, target)))
    expect(sentences).toEqual([
      'Critical when temperature > 30 for 5 minutes on site=north',
      'Critical when mode ≠ “auto” on device 7',
      'Critical when no reading comes for 1 hour 30 minutes on type pump with floor=1',
      'Critical when offline on every device',
      'Critical when 1 or more warnings come within 1 day on every device',
      'Critical when 3 or more dead letters come within 60 seconds on every device',
    ])
  })

  it('says when it is over, where that is not the opposite at once', () => {
    expect(clearText(warm)).toBeUndefined()
    expect(clearText({ kind: 'offline' })).toBeUndefined()
    expect(clearText({ ...warm, clear_value: 28 })).toBe('temperature ≤ 28')
    expect(clearText({ ...warm, op: '<=', clear_value: 32, clear_for: '1m' })).toBe(
      'temperature ≥ 32 for 1 minute',
    )
    expect(clearText({ ...warm, clear_for: '10s' })).toBe('temperature ≤ 30 for 10 seconds')
  })

  it('has durations as words, and as one number with its unit', () => {
    expect(['5m', '1h', '1h30m', '1w'].map(durationText)).toEqual([
      '5 minutes',
      '1 hour',
      '1 hour 30 minutes',
      '1 week',
    ])
    expect(['5m', '90s', '1h30m', '1w', '0s'].map(typedDuration)).toEqual([
      { number: '5', unit: 'm' },
      { number: '90', unit: 's' },
      { number: '90', unit: 'm' },
      { number: '7', unit: 'd' },
      { number: '', unit: 'm' },
    ])
  })
})

describe('the form of a rule', () => {
  it('gives back each rule that it was made of', () => {
    const rules = [
      ruleWith({ ...warm, clear_value: 28.5, clear_for: '1m' }, { selector: 'site=north' }),
      ruleWith({ kind: 'threshold', field: 'open', op: '==', value: true }, { device_id: 7 }),
      ruleWith({ kind: 'threshold', field: 'mode', op: '!=', value: 'auto' }),
      ruleWith({ kind: 'threshold', field: 'code', op: '==', value: '30' }),
      ruleWith({ kind: 'no_data', for: '90s' }, { device_type: 'pump' }),
      ruleWith({ kind: 'offline' }),
      ruleWith({ kind: 'offline', for: '2d' }),
      ruleWith({ kind: 'warnings', count: 5, within: '1h' }),
      ruleWith({ kind: 'dead_letters', count: 1, within: '10m' }),
    ]
    for (const rule of rules) {
      const { name, severity, target, condition } = rule
      expect(ruleOf(draftOf(rule))).toEqual({ name, severity, target, condition })
    }
  })

  it('is no rule while something is missing', () => {
    const draft = { ...draftOf(), name: 'new' }
    expect(ruleOf(draft)).toBeUndefined()
    expect(ruleOf({ ...draft, field: 'a' })).toBeUndefined()
    expect(ruleOf({ ...draft, field: 'a', value: '0' })?.condition).toEqual({
      kind: 'threshold',
      field: 'a',
      op: '>',
      value: 0,
      for: '5m',
    })
    expect(ruleOf({ ...draft, kind: 'no_data', duration: { number: '', unit: 'm' } })).toBeUndefined()
    expect(ruleOf({ ...draft, kind: 'warnings', count: '0' })).toBeUndefined()
  })

  it('tells numbers, truth values and texts apart as they are typed', () => {
    expect(['30', '-1.5', ' true ', 'auto', '"30"', '""', ' '].map(parseValue)).toEqual([
      30,
      -1.5,
      true,
      'auto',
      '30',
      '',
      undefined,
    ])
  })
})

describe('labels as they are typed', () => {
  it('are one in a line, and come back in order', () => {
    const { labels, error } = parseLabels(' site = north \nfloor=2, spare\n\n')
    expect([labels, error]).toEqual([{ site: 'north', floor: '2', spare: '' }, undefined])
    expect(labelLines(labels)).toBe('floor=2\nsite=north\nspare')
  })

  it('are refused where they are none, with the line', () => {
    for (const line of ['=north', 'a b=c', 'a=b=c', '-a=b', 'a=b-', `${'k'.repeat(64)}=v`])
      expect(parseLabels(`site=north\n${line}`).error, line).toContain(line)
    expect(parseLabels('a=1\na=2').error).toContain('twice')
  })

  it('are sent as what has changed, and null removes one', () => {
    expect(labelChanges({ a: '1', b: '2', c: '3' }, { a: '1', b: '4', d: '' })).toEqual({
      b: '4',
      c: null,
      d: '',
    })
  })
})
