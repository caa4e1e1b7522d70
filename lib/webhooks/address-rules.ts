/**
 * Which addresses a webhook may call. A name is checked at every call, by each address that it resolves to: operators of a
 * webhook must not reach what only this server can reach.
 */
import { promises as dns, type LookupAddress } from 'node:dns'
import ipaddr from 'ipaddr.js'
import pTimeout from 'p-timeout'
import { AppError } from '../errors.ts'

/** Finds the addresses of a host name. @throws {Error} when there are none. */
export type Resolve = (host: string) => Promise<readonly LookupAddress[]>

export const resolveBySystem: Resolve = (host) => dns.lookup(host, { all: true, verbatim: true })

/** A name resolves to an address that may not be called. */
export class RefusedAddress extends Error {
  override readonly name = 'RefusedAddress'
}

const refusal = 'leads to a private or reserved address, which WEBHOOK_PRIVATE_ADDRESSES does not allow'
const noHttps = 'must begin with https://, unless WEBHOOK_PRIVATE_ADDRESSES allows the address'

/** Time for the addresses of a name while an operator waits, ms. */
const answerMs = 2000

type Range = readonly [ipaddr.IPv4 | ipaddr.IPv6, number]

/** Networks whose addresses hold an IPv4 address, with the place of its first byte: those of RFC 6052 (NAT64) and of 6to4. */
const carriers = [
  { range: ipaddr.parseCIDR('64:ff9b::/96'), at: 12 },
  { range: ipaddr.parseCIDR('2002::/16'), at: 2 },
] as const

const isIn = (address: ipaddr.IPv4 | ipaddr.IPv6, [network, bits]: Range): boolean =>
  address.kind() === network.kind() && (address as ipaddr.IPv6).match(network as ipaddr.IPv6, bits)

/** The address that is reached in the end: the IPv4 address in one of IPv6 that only carries it. */
const reached = (text: string): ipaddr.IPv4 | ipaddr.IPv6 => {
  const address = ipaddr.process(text)
  if (address instanceof ipaddr.IPv4) return address
  const carrier = carriers.find(({ range }) => isIn(address, range))
  if (carrier === undefined) return address
  return new ipaddr.IPv4(address.toByteArray().slice(carrier.at, carrier.at + 4))
}

/** All that is given to hosts of the public network. */
const globalUnicast = ipaddr.parseCIDR('2000::/3')

/** Where machines of Azure reach their host: it looks public. */
const hostOfAzure = ipaddr.parseCIDR('168.63.129.16/32')

const isPublic = (address: ipaddr.IPv4 | ipaddr.IPv6): boolean =>
  address.range() === 'unicast' &&
  (address instanceof ipaddr.IPv4 ? !isIn(address, hostOfAzure) : isIn(address, globalUnicast))

const rangeOf = (text: string): Range => {
  if (text.includes('/')) return ipaddr.parseCIDR(text)
  const address = ipaddr.process(text)
  return [address, address instanceof ipaddr.IPv4 ? 32 : 128]
}

/** The address in the host of a URL; undefined for a name. `URL` has read decimal and hexadecimal forms already. */
const literalOf = ({ hostname }: URL): string | undefined => {
  const host = hostname.replace(/^\[|\]$/g, '')
  return ipaddr.isValid(host) ? host : undefined
}

/** @throws {AppError} VALIDATION_FAILED when a webhook may not have this URL. */
export type UrlCheck = (url: string) => Promise<void>

export class AddressRules {
  readonly #allowed: readonly Range[]

  /** @param allowed private addresses, or CIDR ranges of them, that may be called, also by http. */
  constructor(allowed: readonly string[]) {
    this.#allowed = allowed.map(rangeOf)
  }

  /** Whether a connection for this URL may go to this address. */
  allows(url: URL, address: string): boolean {
    if (!ipaddr.isValid(address)) return false
    const target = reached(address)
    if (this.#allowed.some((range) => isIn(target, range))) return true
    return url.protocol === 'https:' && isPublic(target)
  }

  /** Why this URL may not be called, as far as that shows without asking anybody; undefined when nothing speaks against it. */
  problemOf(url: URL): string | undefined {
    if (url.protocol !== 'https:' && url.protocol !== 'http:') return noHttps
    if (url.username !== '' || url.password !== '') return 'must hold no name and no password'
    const literal = literalOf(url)
    if (literal !== undefined && !this.allows(url, literal))
      return this.allows(new URL('https://host'), literal) ? noHttps : refusal
    if (literal === undefined && url.protocol === 'http:' && this.#allowed.length === 0) return noHttps
    return undefined
  }

  /** As {@link problemOf}, with the addresses that a name has now. A name that is not known yet is no problem. */
  async problemNow(url: URL, resolve: Resolve): Promise<string | undefined> {
    const problem = this.problemOf(url)
    if (problem !== undefined || literalOf(url) !== undefined) return problem
    const none: LookupAddress[] = []
    const found = await pTimeout(resolve(url.hostname), {
      milliseconds: answerMs,
      fallback: () => none,
    }).catch(() => none)
    return found.every(({ address }) => this.allows(url, address)) ? undefined : refusal
  }

  /** The addresses of a host that a connection may go to. @throws {RefusedAddress} when one of them may not be called. */
  async lookup(url: URL, resolve: Resolve): Promise<readonly LookupAddress[]> {
    const found = await resolve(url.hostname)
    if (!found.every(({ address }) => this.allows(url, address))) throw new RefusedAddress(refusal)
    return found
  }
}

/** @throws {AppError} VALIDATION_FAILED, naming the field `url`. */
export async function checkUrl(text: string, rules: AddressRules, resolve: Resolve): Promise<void> {
  const problem = URL.canParse(text) ? await rules.problemNow(new URL(text), resolve) : 'must be a URL'
  if (problem === undefined) return
  throw new AppError('VALIDATION_FAILED', `The body is not valid: url: ${problem}.`, {
    details: [{ path: 'url', message: problem }],
  })
}
