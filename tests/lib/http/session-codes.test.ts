import { expect, it } from 'vitest'
import { codeValidMs, SessionCodes } from '../../../lib/http/session-codes.ts'

it('makes codes of 160 bits that are good for an address', () => {
  const codes = new SessionCodes()
  const made = Array.from({ length: 100 }, () => codes.make())
  expect(new Set(made).size).toBe(100)
  for (const code of made) expect(code).toMatch(/^[\w-]{27}$/)
})

it('takes a code once, and no other text', () => {
  const codes = new SessionCodes()
  const [code, other] = [codes.make(), codes.make()]
  for (const wrong of ['', 'x', code.slice(1), `${code} `, `${code}${other}`])
    expect(codes.use(wrong)).toBe(false)
  expect(codes.use(code)).toBe(true)
  expect(codes.use(code)).toBe(false)
  expect(codes.use(other)).toBe(true)
})

it('takes no code after five minutes', () => {
  let now = 0
  const codes = new SessionCodes(() => now)
  const [early, late] = [codes.make(), codes.make()]
  now = codeValidMs - 1
  expect(codes.use(early)).toBe(true)
  now += 1
  expect(codes.use(late)).toBe(false)
})

it('keeps the ten newest codes', () => {
  const codes = new SessionCodes()
  const made = Array.from({ length: 11 }, () => codes.make())
  expect(made.map((code) => codes.use(code))).toEqual([false, ...Array(10).fill(true)])
})
