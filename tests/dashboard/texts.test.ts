import { describe, expect, it } from 'vitest'
import { eventSentence } from '../../dashboard/events.ts'
import { age, bytes, span } from '../../dashboard/format.ts'
import { bytesOf, hexOf, textOf } from '../../dashboard/payload.ts'
import { eventKinds } from '../../lib/devices/events.ts'

describe('payloads', () => {
  it('are shown as JSON where they are JSON, else as they are', () => {
    expect(textOf(Buffer.from('{"a":[1]}'))).toEqual({
      text: '{\n  "a": [\n    1\n  ]\n}',
      kind: 'json',
      exact: true,
    })
    expect(textOf(Buffer.from('{"a":'))).toEqual({ text: '{"a":', kind: 'text', exact: true })
    expect(textOf(Uint8Array.of(0x41, 0xff))).toMatchObject({ kind: 'text', exact: false })
  })

  it('are shown in hex with offset and characters, up to a number of bytes', () => {
    const content = bytesOf(Buffer.from('ABC\u0000 the 17th byte!').toString('base64'))
    expect(hexOf(content, 100).split('\n')).toEqual([
      '000000  41 42 43 00 20 74 68 65 20 31 37 74 68 20 62 79  ABC. the 17th by',
      '000010  74 65 21                                         te!',
    ])
    expect(hexOf(content, 2)).toBe(`000000  41 42${' '.repeat(44)}AB`)
    expect(hexOf(new Uint8Array(), 2)).toBe('')
  })
})

describe('numbers and times', () => {
  it('have the unit that fits', () => {
    expect([0, 59, 60, 7300, 200_000].map(span)).toEqual(['0 s', '59 s', '1 min', '2 h', '2 d'])
    const now = Date.parse('2026-01-01T00:00:00Z')
    expect(age('2026-01-01T00:00:00Z', now)).toBe('now')
    expect(age('2025-12-31T23:57:00Z', now)).toBe('3 min ago')
    expect(age('2026-01-01T00:00:30Z', now)).toBe('in 30 s')
    expect([999, 1500, 2_500_000].map(bytes)).toEqual(['999 B', '1.5 KB', '2.5 MB'])
  })
})

describe('events', () => {
  it('have a sentence each, with what is known of them', () => {
    for (const kind of eventKinds)
      expect(eventSentence(kind, null), kind).toMatch(/^(was|went|got|lost|has|applied|came|sent|could) /)
    expect(eventSentence('offline', { by: 'broker', reason: 'CONNECTION_LOST' })).toBe(
      'went offline: the connection was lost',
    )
    const silence = { by: 'silence', silent_s: 302, limit_s: 300 }
    expect(eventSentence('offline', silence)).toBe('went offline: silent for 5 min')
    expect(eventSentence('offline', { by: 'device' })).toBe('went offline: disconnected')
    expect(eventSentence('status', { by: 'admin', from: 'active', to: 'inactive' })).toBe(
      'went from active to inactive by admin',
    )
    expect(eventSentence('warning', { code: 'CLOCK_WRONG', paths: ['ts', 'a.ts'] })).toBe(
      'sent readings with a warning: CLOCK_WRONG at ts, a.ts',
    )
    expect(eventSentence('of_a_later_version' as 'online', { x: 1 })).toBe('of a later version')
  })
})
