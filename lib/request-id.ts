/**
 * Ids of requests and messages: 16 hex digits drawn once per process, then a counter of 8. Ids that follow each other
 * end in numbers that follow each other, which keeps readings of one millisecond apart.
 */
import { randomBytes } from 'node:crypto'

const prefix = randomBytes(8).toString('hex')
/** 31 bits: beyond, V8 writes a number out of fractions, which takes ten times as long. */
let counter = randomBytes(4).readUInt32BE() >>> 1

/** 24 hex digits; not a secret. */
export function nextRequestId(): string {
  counter = (counter + 1) & 0x7fffffff
  return prefix + counter.toString(16).padStart(8, '0')
}
