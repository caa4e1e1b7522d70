/** The host that a caller named in the Host header. */
import { isLoopback } from '../loopback.ts'
import type { RequestContext } from './context.ts'

/** The host name under which the caller reached this server, without a port; `localhost` when the request has none. */
export function hostnameOf(c: RequestContext): string {
  const host = `http://${c.req.header('host') ?? 'localhost'}`
  return URL.canParse(host) ? new URL(host).hostname : 'localhost'
}

/**
 * Whether the caller reached this server under a loopback name or address, or named none. A web page can make a name of its
 * own point to loopback (DNS rebinding), but then the browser of its visitor names that host here.
 */
export function namesLoopback(c: RequestContext): boolean {
  const host = c.req.header('host')
  if (host === undefined) return true
  const url = `http://${host}`
  return URL.canParse(url) && isLoopback(new URL(url).hostname.replace(/^\[|\]$/g, ''))
}
