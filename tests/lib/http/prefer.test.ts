import { describe, expect, it } from 'vitest'
import type { RequestContext } from '../../../lib/http/context.ts'
import { preferenceOf, wantsStrictHandling } from '../../../lib/http/prefer.ts'

describe('a preference', () => {
  it.each([
    ['handling=strict', 'strict'],
    ['HANDLING = Strict', 'strict'],
    ['handling="strict"', 'strict'],
    ['return=minimal, handling=strict', 'strict'],
    ['wait=10; note="a, handling=lenient"; more, handling=strict', 'strict'],
    ['a="x\\", handling=lenient", handling=strict', 'strict'],
    ['handling=lenient, handling=strict', 'lenient'],
    [', ,handling=strict,', 'strict'],
    ['=nothing, handling=strict', 'strict'],
    ['handling; x=1', ''],
  ])('in %s is found', (header, value) => {
    expect(preferenceOf(header, 'handling')).toBe(value)
  })

  it.each(['', 'return=minimal', 'xhandling=strict', 'note="handling=strict"', '"'])(
    'that is not in %s is not found',
    (header) => {
      expect(preferenceOf(header, 'handling')).toBeUndefined()
    },
  )

  it('is looked for in a bounded part of the header', () => {
    expect(preferenceOf(`${'a,'.repeat(1000)}handling=strict`, 'handling')).toBeUndefined()
  })
})

describe('strict handling', () => {
  const ask = (prefer?: string) => {
    const headers: Record<string, string> = {}
    const c = { req: { header: () => prefer }, get: () => headers } as unknown as RequestContext
    return { strict: wantsStrictHandling(c), headers }
  }

  it('is confirmed in the answer', () => {
    expect(ask('handling=strict')).toEqual({
      strict: true,
      headers: { 'Preference-Applied': 'handling=strict' },
    })
  })

  it.each([undefined, 'handling=lenient'])('is not applied for %s', (prefer) => {
    expect(ask(prefer)).toEqual({ strict: false, headers: {} })
  })
})
