import { describe, expect, it } from 'vitest'
import { addressOf } from '../../../lib/http/address.ts'
import { appFor, type Bindings, from } from '../../support/http-app.ts'

/** The address that counts for a request. @param remote of the socket. */
const addressFor = async (trusted: string[], remote: string | undefined, forwardedFor?: string) => {
  const app = appFor('GET /', addressOf(trusted))
  const headers = forwardedFor === undefined ? {} : { 'x-forwarded-for': forwardedFor }
  const bindings: Bindings = { incoming: { socket: { remoteAddress: remote } } }
  const answer = await app.request('/', { headers }, bindings)
  return ((await answer.json()) as { value: string }).value
}

describe('the address that a request is counted for', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    [undefined, ''],
  ])('of the socket address %s is %s', async (remote, address) => {
    expect(await addressFor([], remote)).toBe(address)
  })

  it('is the same for all addresses of an IPv6 network', async () => {
    expect(await addressFor([], '2001:db8::1')).toBe(await addressFor([], '2001:db8:0:0:ffff::2'))
  })

  it('is not what X-Forwarded-For says while no proxy is trusted', async () => {
    expect(await addressFor([], '192.0.2.1', '198.51.100.7')).toBe('192.0.2.1')
  })

  it.each([
    ['the only hop', '198.51.100.7', '198.51.100.7'],
    ['the last hop, as others could be invented', '203.0.113.9, 198.51.100.7', '198.51.100.7'],
    ['the hop in front of several proxies', '198.51.100.7, 10.0.0.2, 10.0.0.3', '198.51.100.7'],
    ['the proxy when there is no hop', undefined, '10.0.0.1'],
    ['the proxy when the hop is no address', 'unknown', '10.0.0.1'],
    ['an IPv4 hop that is written as IPv6', '::ffff:198.51.100.7', '198.51.100.7'],
  ])('behind a trusted proxy is %s', async (_what, forwardedFor, address) => {
    expect(await addressFor(['10.0.0.0/24'], '10.0.0.1', forwardedFor)).toBe(address)
  })

  it('is that of a proxy that is not trusted', async () => {
    expect(await addressFor(['10.0.0.1'], '10.0.0.2', '198.51.100.7')).toBe('10.0.0.2')
  })

  it('trusts IPv6 proxies by address and by range', async () => {
    for (const trusted of ['fd00::1', 'fd00::/8'])
      expect(await addressFor([trusted], 'fd00::1', '198.51.100.7')).toBe('198.51.100.7')
  })

  it('is what API Gateway tells, whatever the headers say', async () => {
    const app = appFor('GET /', addressOf(['203.0.113.7']))
    const answer = await app.request(
      '/',
      { headers: { 'x-forwarded-for': '198.51.100.7' } },
      from('203.0.113.7'),
    )
    expect(await answer.json()).toEqual({ value: '203.0.113.7' })
  })
})
