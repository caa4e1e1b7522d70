/**
 * Ids of requests and messages: 16 random hex digits per process, then a counter of 8. Ids that follow each other end in
 * consecutive numbers, which gives readings of one millisecond different times.
 */
import { randomBytes } from 'node:crypto'

const prefix = randomBytes(8).toString('hex')
const counterMask = 0x7fffffff
let counter = randomBytes(4).readUInt32BE() & counterMask

/** 24 hex digits; not a secret. */
export function nextRequestId(): string {
  counter = (counter + 1) & counterMask
  return prefix + counter.toString(16).padStart(8, '0')
}
