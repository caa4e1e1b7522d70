import { expect, it } from 'vitest'
import { nextRequestId } from '../../lib/request-id.ts'

it('gives ids of 24 hex digits that end in consecutive numbers', () => {
  const ids = Array.from({ length: 1000 }, nextRequestId)
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{24}$/)
  expect(new Set(ids).size).toBe(1000)
  expect(new Set(ids.map((id) => id.slice(0, 16))).size).toBe(1)
  const numbers = ids.map((id) => Number.parseInt(id.slice(16), 16))
  for (let i = 1; i < numbers.length; i += 1)
    expect(((numbers[i] ?? 0) - (numbers[i - 1] ?? 0) + 2 ** 31) % 2 ** 31).toBe(1)
})
