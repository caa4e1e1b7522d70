import { expect, it } from 'vitest'
import { hostnameOf, namesLoopback } from '../../../lib/http/host.ts'
import { appFor } from '../../support/http-app.ts'

const ask = async (value: Parameters<typeof appFor>[1], host: string | undefined) => {
  const answer = await appFor('GET /', value).request('/', {
    headers: host === undefined ? {} : { Host: host },
  })
  return ((await answer.json()) as { value: unknown }).value
}

it.each([
  ['iot.example:5000', 'iot.example', false],
  ['localhost:5000', 'localhost', true],
  ['127.0.0.1', '127.0.0.1', true],
  ['[::1]:5000', '[::1]', true],
  ['192.168.1.5:80', '192.168.1.5', false],
  ['no host', 'localhost', false],
  [undefined, 'localhost', true],
])('the host %s has the name %s; it is loopback: %s', async (host, name, isLoopback) => {
  expect(await ask(hostnameOf, host)).toBe(name)
  expect(await ask(namesLoopback, host)).toBe(isLoopback)
})
