/** A message on its way in, and what becomes of its readings. */
import type { AppError } from '../errors.ts'
import { type Arrival, arrivalTime } from './payload/arrival.ts'
import type { ParsedReading } from './payload/parse.ts'
import type { Reading, Rejection, Warning } from './reading.ts'
import { type KeyedRequest, keyOfMessageId } from './reading-keys.ts'
import type { Sample } from './samples.ts'
import type { WriteEntry } from './store.ts'

/** The readings of one message, and how many of its readings were rejected. */
export interface Delivery extends WriteEntry {
  /** One key per reading: the same key of a device again within 24 h is a duplicate. Undefined for a reading without a key. */
  readonly keys?: readonly (string | undefined)[] | undefined
  /** Readings of the message that were rejected, because they are not valid; a message that cannot be parsed counts as one. */
  readonly rejected: number
  /** Readings about which the parser warned; absent for none. */
  readonly warned?: number | undefined
  /** Only of a message in a request with an Idempotency-Key: then every reading has a key. */
  readonly request?: KeyedRequest | undefined
  /** What its readings say about alert rules; judged where the readings become durable first. */
  readonly samples?: readonly Sample[] | undefined
}

/** What became of the readings that were not rejected. In all three cases the sender must not send the reading again. */
export interface Outcome {
  readonly stored: number
  /** Durable in the spool: the store gets them when it is available again. The account counts them as `spooled`. */
  readonly queued: number
  /** Recognised by their keys. */
  readonly duplicates: number
  /** Places of taken readings whose `message_id` the device has used for another reading; absent for none. */
  readonly reused?: readonly number[] | undefined
  /** Nothing was taken and all readings count as rejected: the request's key came with another body before. */
  readonly conflict?: true | undefined
}

/** Whether a reading of the delivery has a key. */
export const hasKeys = ({ keys }: Delivery): boolean => keys?.some((key) => key !== undefined) ?? false

/** Characters of one batch: large enough to share one flush or request, small enough to keep the wait short. */
export const maxBatchCharacters = 1_000_000

/** The share of a waiting delivery in the bounds of what may wait. */
export interface Size {
  readonly readings: number
  /** An estimate of the length of its JSON text. */
  readonly characters: number
}

export const sizeOf = ({ readings }: Delivery): Size => {
  let characters = 100
  for (const { fields, metadata } of readings) {
    characters += 100
    for (const name in fields) {
      const value = fields[name]
      characters += name.length + (typeof value === 'string' ? value.length : 10)
    }
    for (const name in metadata) characters += name.length + (metadata[name]?.length ?? 0)
  }
  return { readings: readings.length, characters }
}

/** A message with telemetry as a broker of this process hands it over. */
export interface BrokerMessage {
  readonly deviceId: number
  /** The part of the topic behind `telemetry/`. */
  readonly subtopic: string | undefined
  readonly payload: Uint8Array
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
  readonly messageId: string
}

/**
 * The short way of telemetry into the intake of this process, beside the function of its rule. The caller touches the device.
 * @param ended see `Intake.take`.
 * @returns false for a message that the function has to take; what to wait for before the message is handed over again, where something
 * about its device has to be read first.
 */
export type TakeMessage = (
  message: BrokerMessage,
  ended: (failure?: AppError) => void,
) => boolean | Promise<unknown>

/** The way by which a message came: a request, the embedded broker, the bridge to another broker, a queue, or a replay. */
export type Door = 'http' | 'mqtt' | 'bridge' | 'queue' | 'replay'

/** The device that sent a message, with the tags that are stored with each reading. */
export interface Sender {
  readonly id: number
  readonly deviceType: string
  readonly location: string | null
  /** IANA name of the zone of its times without an offset; UTC where there is none. */
  readonly timezone?: string | null | undefined
  /** What alert rules select by; none where left out. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** Nothing is alerted of a device in maintenance. */
  readonly status?: 'active' | 'inactive' | 'maintenance' | undefined
}

export interface Accepted {
  /** Readings that must not be sent again: stored, queued or duplicates. */
  readonly accepted: number
  /** Accepted readings that wait in the spool until the store is available. */
  readonly queued: number
  /** Accepted readings that were recognised as sent before. */
  readonly duplicates: number
  readonly rejected: readonly Rejection[]
  /** What was left out or changed in accepted readings. */
  readonly warnings: readonly Warning[]
  /** False when the message was one reading and no list. */
  readonly batch: boolean
  /** The newest accepted reading, ns since the epoch. */
  readonly time: bigint
}

export interface MessageArrival extends Omit<Arrival, 'retentionMs' | 'maxClockAheadMs' | 'timezone'> {
  /** Refuses the whole message where the parser has a warning. */
  readonly strict?: boolean | undefined
  /** The sender's own id for this message: the same within 24 h is the same message. */
  readonly idempotencyKey?: string | undefined
  /** The message comes out of a queue: it stays there when it cannot be stored. */
  readonly redelivered?: boolean | undefined
  /** For metrics only. */
  readonly door?: Door | undefined
}

/**
 * Whether the device gave the time of a reading: one from the arrival, also with an `age_ms`, has digits below the millisecond
 * that are made from the message. Those of a device's own time are the same once in a million.
 */
const hasOwnTime = ({ index, reading }: ParsedReading, { receivedAt, messageId }: KeyedArrival): boolean =>
  (reading.time - arrivalTime(receivedAt, messageId, index)) % 1_000_000n !== 0n

export type KeyedArrival = Pick<Arrival, 'receivedAt' | 'messageId'>

/** A key per reading that recognises it when it comes again; undefined when no reading has one. */
export const keysOf = (
  readings: readonly ParsedReading[],
  arrival: KeyedArrival,
  idempotencyKey: string | undefined,
): (string | undefined)[] | undefined => {
  if (idempotencyKey === undefined && readings.every(({ messageId }) => messageId === undefined))
    return undefined
  return readings.map((parsed) => {
    const { index, reading, messageId } = parsed
    if (messageId !== undefined) return keyOfMessageId(messageId, reading, hasOwnTime(parsed, arrival))
    return idempotencyKey === undefined ? undefined : `h:${index}:${idempotencyKey}`
  })
}

/** Every delivery has the same members in the same order: spreads would cost more than the rest of this. */
export const toDelivery = (
  { id, deviceType, location }: Sender,
  readings: readonly Reading[],
  receivedAt: number,
  { keys, rejected, warned, request, samples }: Omit<Delivery, keyof WriteEntry>,
): Delivery => ({
  deviceId: id,
  deviceType,
  location,
  receivedAt,
  readings,
  keys,
  rejected,
  warned,
  request,
  samples,
})

export const acceptedOf = (
  { readings }: Delivery,
  { rejected, warnings, batch }: Pick<Accepted, 'rejected' | 'warnings' | 'batch'>,
  { queued, duplicates }: Outcome,
): Accepted => {
  let time = 0n
  for (const reading of readings) if (reading.time > time) time = reading.time
  return { accepted: readings.length, queued, duplicates, rejected, warnings, batch, time }
}
