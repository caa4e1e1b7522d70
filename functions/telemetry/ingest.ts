/**
 * Called by the rule for `…/telemetry/#` with each message that a device publishes, and by the SQS queue with
 * batches of messages that could not be stored at once.
 */
import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda'
import type { Devices } from '../../lib/devices/devices.ts'
import { AppError } from '../../lib/errors.ts'
import { formatMillis } from '../../lib/iso-time.ts'
import { decodeJson } from '../../lib/json.ts'
import { buildOnce, eventHandler } from '../../lib/lambda/handler.ts'
import type { Log } from '../../lib/log.ts'
import type { TopicTree } from '../../lib/mqtt/topics.ts'
import * as runtime from '../../lib/runtime.ts'
import type { DeadLetters } from '../../lib/telemetry/dead-letters.ts'
import type { Delivery, Door, TakeMessage } from '../../lib/telemetry/delivery.ts'
import type { Intake } from '../../lib/telemetry/intake/intake.ts'
import { decodeQueuedDelivery } from '../../lib/telemetry/intake/sqs.ts'
import { MessageRate } from '../../lib/telemetry/message-rate.ts'
import { type Decoded, decodePayload } from '../../lib/telemetry/payload/parse.ts'
import type { Warning } from '../../lib/telemetry/reading.ts'
import { summarizeWarnings } from '../../lib/telemetry/warnings.ts'

/** The fields of a message that the rule selects. */
export interface TelemetryEvent {
  /** Base64: the bytes as they were published, JSON or not. */
  readonly payload: string
  readonly topic: string
  readonly client_id: string
  /** Milliseconds since the epoch, fixed before the first try. */
  readonly received_at: number
  /** The same for every try of one message. */
  readonly message_id: string
}

/** The parts of a message that a dead letter keeps. */
interface Message {
  readonly deviceId: number | undefined
  readonly topic: string
  readonly payload: Uint8Array
  readonly receivedAt: number
  readonly messageId: string
}

interface Deps {
  log: Log
  devices: Devices
  intake: Intake
  deadLetters: DeadLetters
  topics: TopicTree
  /** How messages come that come out of no queue. */
  door?: Door
  /** Counts messages, where the broker slows no device down. */
  rate?: MessageRate | undefined
}

/** How a message comes to the function. */
interface Arrival {
  /** It may have been stored before. */
  readonly redelivered?: boolean
  /** It was counted before. */
  readonly isCounted?: boolean
}

/** Counts a message above the limit of its device: it is stored all the same, because the broker has acknowledged it. */
const noteAboveLimit = (devices: Pick<Devices, 'noteRepeated'>, deviceId: number, receivedAt: number) => {
  const code = 'RATE_LIMIT_EXCEEDED'
  const day = formatMillis(receivedAt).slice(0, 10)
  devices.noteRepeated({ deviceId, kind: 'warning', key: `${code} ${day}`, detail: { code } })
}

/** Counts warnings in events of the device, one for each code and day: over MQTT there is no answer that could show them. */
const noteWarnings = (
  devices: Pick<Devices, 'noteRepeated'>,
  deviceId: number,
  warnings: readonly Warning[],
  receivedAt: number,
): void => {
  const day = formatMillis(receivedAt).slice(0, 10)
  for (const { code, count, paths } of summarizeWarnings(warnings))
    devices.noteRepeated({ deviceId, kind: 'warning', key: `${code} ${day}`, count, detail: { code, paths } })
}

/**
 * Resolves when the message is durable: as readings, or with the reason among the dead letters.
 * @throws {AppError} UNAVAILABLE when neither could be done: the message is to be sent again.
 */
export const ingestTelemetry = ({ log, devices, intake, deadLetters, topics, door, rate }: Deps) => {
  const deadLetter = async (message: Message, reason: string, indexes?: readonly number[]) => {
    await deadLetters.keep({ ...message, reason, indexes })
    const { deviceId, messageId } = message
    log.warn('message kept among the dead letters', { device_id: deviceId, message_id: messageId, reason })
  }
  /** Keeps a message of which nothing was counted yet, and counts it. */
  const deadLetterAndCount = async (message: Message, reason: string) => {
    await deadLetter(message, reason)
    await intake.countRejected(message.deviceId ?? 0, message.receivedAt, 1, door)
  }

  return async (
    event: TelemetryEvent,
    { redelivered = false, isCounted = false }: Arrival = {},
  ): Promise<void> => {
    const { topic, received_at: receivedAt, message_id: messageId } = event
    const payload = Buffer.from(event.payload, 'base64')
    const { deviceId, kind, subtopic } = topics.parse(topic) ?? {}
    const message = { deviceId, topic, payload, receivedAt, messageId }
    if (deviceId === undefined || kind !== 'telemetry')
      return deadLetterAndCount(message, 'The topic is not one of telemetry.')
    const device = await devices.find(deviceId)
    if (device === undefined) return deadLetterAndCount(message, 'There is no such device.')
    if (device.status === 'inactive') return deadLetterAndCount(message, 'The device is inactive.')
    if (!isCounted && rate?.isAbove(deviceId, receivedAt)) noteAboveLimit(devices, deviceId, receivedAt)
    let decoded: Decoded
    try {
      decoded = decodePayload(payload)
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      devices.touch(deviceId)
      return deadLetterAndCount(message, error.message)
    }
    try {
      const { accepted, rejected, warnings } = await intake.accept(device, decoded.body, {
        receivedAt,
        messageId,
        subtopic,
        redelivered,
        door,
        invalidUtf8: decoded.invalidUtf8,
      })
      devices.touch(deviceId)
      if (warnings.length > 0) noteWarnings(devices, deviceId, warnings, receivedAt)
      if (rejected.length > 0) {
        const [first] = rejected
        await deadLetter(
          message,
          `${rejected.length} of ${accepted + rejected.length} readings were refused; [${first?.index}] ${first?.message}`,
          rejected.map(({ index }) => index),
        )
      }
    } catch (error) {
      if (!(error instanceof AppError) || error.code === 'UNAVAILABLE' || error.code === 'INTERNAL')
        throw error
      devices.touch(deviceId)
      await deadLetter(message, error.message)
    }
  }
}

/** @returns undefined for a payload about which there is something to say. */
const plainBody = (payload: Uint8Array): unknown => {
  try {
    const { body, invalidUtf8 } = decodePayload(payload)
    return invalidUtf8 ? undefined : body
  } catch (error) {
    if (error instanceof AppError) return undefined
    throw error
  }
}

/** Takes what {@link Intake.take} takes, of devices in memory; others are read first. */
export const takeTelemetry =
  ({ devices, intake, door, rate }: Pick<Deps, 'devices' | 'intake' | 'door' | 'rate'>): TakeMessage =>
  ({ deviceId, subtopic, payload, receivedAt, messageId }, ended) => {
    const device = devices.cached(deviceId)
    if (device === undefined) return devices.find(deviceId)
    if (device.status === 'inactive') return false
    const body = plainBody(payload)
    const isTaken =
      body !== undefined && intake.take(device, body, { receivedAt, messageId, subtopic, door }, ended)
    if (isTaken === true && rate?.isAbove(deviceId, receivedAt)) noteAboveLimit(devices, deviceId, receivedAt)
    return isTaken
  }

/** The message that AWS IoT puts into the queue when it could not call the function. */
interface RuleFailure {
  readonly topic: string
  readonly clientId: string
  readonly base64OriginalPayload: string
}

const isEvent = (content: Partial<TelemetryEvent>): content is TelemetryEvent =>
  typeof content.payload === 'string' &&
  typeof content.topic === 'string' &&
  typeof content.message_id === 'string' &&
  Number.isSafeInteger(content.received_at)

/** The event in a record of the queue; undefined when nothing of this system put the record there. */
const eventOf = ({ body, messageId, attributes }: SQSRecord): TelemetryEvent | undefined => {
  const content = decodeJson(Buffer.from(body)) as Partial<
    TelemetryEvent & RuleFailure & { requestPayload: TelemetryEvent }
  >
  // The rule puts its event into the queue itself; Lambda wraps it after the function failed.
  const event = content.requestPayload ?? content
  if (isEvent(event)) return event
  if (typeof content.base64OriginalPayload !== 'string' || typeof content.topic !== 'string') return undefined
  return {
    payload: content.base64OriginalPayload,
    topic: content.topic,
    client_id: content.clientId ?? '',
    // The time of the record is the same at every try.
    received_at: Number(attributes.SentTimestamp),
    message_id: messageId,
  }
}

/** The content of a record; undefined when nothing of this system wrote it, JSON or not: no further try would change that. */
const contentOf = (record: SQSRecord): { delivery?: Delivery; event?: TelemetryEvent } | undefined => {
  try {
    const delivery = decodeQueuedDelivery(JSON.parse(record.body))
    if (delivery !== undefined) return { delivery }
    const event = eventOf(record)
    return event && { event }
  } catch {
    return undefined
  }
}

/** Handles each record by itself: only the records that could not be stored come again. */
export const ingestQueue =
  ({ log, intake, deadLetters, ...others }: Deps) =>
  async ({ Records }: SQSEvent): Promise<SQSBatchResponse> => {
    const ingest = ingestTelemetry({ log, intake, deadLetters, ...others })
    const handleRecord = async (record: SQSRecord) => {
      const { delivery, event } = contentOf(record) ?? {}
      if (delivery !== undefined) return intake.redeliver(delivery)
      if (event !== undefined) {
        const isCounted = Number(record.attributes.ApproximateReceiveCount) > 1
        return ingest(event, { redelivered: true, isCounted })
      }
      await deadLetters.keep({
        deviceId: undefined,
        topic: '',
        payload: Buffer.from(record.body),
        reason: 'Nothing of this system put the message into the queue.',
        receivedAt: Number(record.attributes.SentTimestamp),
        messageId: record.messageId,
      })
    }
    const results = await Promise.allSettled(Records.map(handleRecord))
    const failed = Records.filter((_, at) => results[at]?.status === 'rejected')
    if (failed.length > 0) {
      const first = results.find((result) => result.status === 'rejected')
      const of = Records.length
      log.warn('messages of the queue come again', { failed: failed.length, of, error: first?.reason })
    }
    return { batchItemFailures: failed.map(({ messageId }) => ({ itemIdentifier: messageId })) }
  }

const deps = buildOnce(async () => {
  // The embedded broker reads more slowly from a device above its limit.
  const isSlowedDown = runtime.brokerKind() === 'embedded'
  return {
    log: runtime.log(),
    devices: await runtime.devices(),
    intake: await runtime.intake(),
    deadLetters: await runtime.deadLetters(),
    topics: runtime.topics(),
    door: isSlowedDown ? 'mqtt' : 'bridge',
    rate: isSlowedDown ? undefined : new MessageRate(runtime.config().limits.telemetryPerMinute),
  } as const
})

export const handler = eventHandler(async () => {
  const [ingest, queue] = [ingestTelemetry(await deps()), ingestQueue(await deps())]
  return (event: TelemetryEvent | SQSEvent): Promise<unknown> =>
    'Records' in event ? queue(event) : ingest(event)
}, runtime.log)

/** The short way into the handler's intake, for a broker of this process. */
export const take = async (): Promise<TakeMessage> => takeTelemetry(await deps())
