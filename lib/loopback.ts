/** Loopback addresses: those that only this computer can reach. */

/** @param host a name or an IP address, IPv6 without brackets. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
