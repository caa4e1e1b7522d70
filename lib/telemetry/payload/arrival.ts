/** What is known of a message beside its content, and the time of a reading that names none. */

export interface Arrival {
  /** Milliseconds since the epoch, fixed before the first try to store. */
  readonly receivedAt: number
  /** The same for every try of one message; see {@link arrivalTime}. */
  readonly messageId: string
  /** The part of the topic after `telemetry/`; stored as metadata. */
  readonly subtopic?: string | undefined
  /** Age of the oldest readings that are kept, ms; 0 keeps telemetry for ever. */
  readonly retentionMs: number
  /** How far ahead of the arrival a device's clock is believed, ms; 300,000 by default. */
  readonly maxClockAheadMs?: number | undefined
  /** IANA name of the zone of times without an offset; UTC by default. */
  readonly timezone?: string | null | undefined
  /** The content type said that the message is SenML. */
  readonly senml?: boolean | undefined
  /** Bytes that are not UTF-8 were replaced: the message gets a warning. */
  readonly invalidUtf8?: boolean | undefined
}

const nsPerMs = 1_000_000n

/** A number made of a message's id: its last eight digits when they are hexadecimal, else its FNV-1a hash. */
const seedOf = (messageId: string): number => {
  const tail = messageId.slice(-8)
  if (/^[0-9a-f]{8}$/i.test(tail)) return Number.parseInt(tail, 16)
  let hash = 0x811c9dc5
  for (let i = 0; i < messageId.length; i += 1) {
    hash = Math.imul(hash ^ messageId.charCodeAt(i), 0x01000193) >>> 0
  }
  return hash
}

/**
 * The time of a reading without a time: the millisecond of its arrival, and below it a number made of the message's id and
 * the reading's index. 250 messages of 1000 readings each, with consecutive ids, share no instant.
 */
export function arrivalTime(receivedAt: number, messageId: string, index: number): bigint {
  return BigInt(receivedAt) * nsPerMs + BigInt((seedOf(messageId) + 4001 * index) % 1_000_000)
}
