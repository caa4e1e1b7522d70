import { expect, test } from 'vitest'
import { readDirectRequest } from '../../local/direct-request.ts'

const path = '/api/v1/telemetry'
const head = (length: number, more = '') =>
  `POST ${path} HTTP/1.1\r\nHost: localhost:8080\r\n${more}Content-Length: ${length}\r\n\r\n`
const read = (text: string) => readDirectRequest(Buffer.from(text, 'latin1'), (one) => one === path)

test('the headers are read by names in lower case, and the body is what follows the head', () => {
  const request = read(`${head(2, 'X-API-Key: a b\r\n')}{}`)
  expect(request).toMatchObject({ path, headers: { host: 'localhost:8080', 'x-api-key': 'a b' } })
  expect(typeof request === 'object' && request.body.toString()).toBe('{}')
})

test('a part of the body may be missing, a part of the head may not', () => {
  expect(read(head(2))).toBe('incomplete')
  expect(read(`${head(2)}{`)).toBe('incomplete')
  expect(read(head(2).slice(0, -1))).toBeUndefined()
})

test('more than one request is not plain', () => {
  expect(read(`${head(2)}{}P`)).toBeUndefined()
})

test.each([
  [65_536, 'object'],
  [65_537, 'undefined'],
])('a body of %i bytes: %s', (length, type) => {
  expect(typeof read(head(length) + 'x'.repeat(length))).toBe(type)
})

test.each([
  [4096, 'object'],
  [4097, 'undefined'],
])('a head of %i bytes: %s', (bytes, type) => {
  const missing = bytes - head(0, 'X-Long: \r\n').length
  expect(typeof read(head(0, `X-Long: ${'x'.repeat(missing)}\r\n`))).toBe(type)
})
