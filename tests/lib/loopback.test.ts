import { expect, it } from 'vitest'
import { isLoopback } from '../../lib/loopback.ts'

it.each(['localhost', '::1', '127.0.0.1', '127.200.0.9'])('%s is a loopback address', (host) => {
  expect(isLoopback(host)).toBe(true)
})

it.each(['0.0.0.0', '::', '128.0.0.1', '127.0.0.1.example', 'localhost.example', ''])(
  '%s is none',
  (host) => {
    expect(isLoopback(host)).toBe(false)
  },
)
