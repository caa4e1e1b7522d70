/** The network address of a caller, for request limits per address. */
import { BlockList, isIPv4, isIPv6 } from 'node:net'
import type { RequestContext } from './context.ts'

export type AddressOf = (c: RequestContext) => string

const unmapped = (address: string) => (address.startsWith('::ffff:') ? address.slice(7) : address)

/** An IPv6 client owns a whole /64, so a limit per single address would never be reached. */
const countedAddress = (address: string): string => {
  if (!isIPv6(address)) return address
  const [head = '', tail] = address.split('::')
  const groups = head === '' ? [] : head.split(':')
  const rest = tail ? tail.split(':').length : 0
  while (tail !== undefined && groups.length + rest < 8) groups.push('0')
  return `${groups.slice(0, 4).join(':')}::/64`
}

/**
 * Makes a function that tells the address of a caller: an IPv4 address, or the /64 of an IPv6 address.
 * @param trusted addresses or CIDR ranges of our proxies. X-Forwarded-For is read from right to left while the hop is one
 * of them, and ignored where the list is empty. In the cloud the gateway tells the address.
 */
export function addressOf(trusted: readonly string[]): AddressOf {
  const proxies = new BlockList()
  for (const range of trusted) {
    const [address = '', bits] = range.split('/')
    const family = isIPv4(address) ? 'ipv4' : 'ipv6'
    if (bits === undefined) proxies.addAddress(address, family)
    else proxies.addSubnet(address, Number(bits), family)
  }
  const isProxy = (address: string) => proxies.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
  return (c) => {
    const fromGateway = c.env?.requestContext?.http?.sourceIp
    if (fromGateway !== undefined) return countedAddress(fromGateway)
    let address = unmapped(c.env?.incoming?.socket.remoteAddress ?? '')
    if (trusted.length > 0 && address !== '') {
      const hops = (c.req.header('x-forwarded-for') ?? '').split(',').map((hop) => unmapped(hop.trim()))
      while (isProxy(address)) {
        const hop = hops.pop()
        if (hop === undefined || !(isIPv4(hop) || isIPv6(hop))) break
        address = hop
      }
    }
    return countedAddress(address)
  }
}
