/**
 * By rule from `iotflow/devices/+/telemetry/#`: what devices publish over MQTT; and from the queue what could not be taken
 * at once, a message at a time.
 */
import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda'
import { onEvent } from '../../lib/built.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { AppError } from '../../lib/errors.ts'
import { decodeJson } from '../../lib/json.ts'
import type { Log } from '../../lib/log.ts'
import { parseDeviceTopic } from '../../lib/mqtt/topics.ts'
import * as runtime from '../../lib/runtime.ts'
import type { DeadLetters } from '../../lib/telemetry/dead-letters.ts'
import type { Delivery } from '../../lib/telemetry/intake.ts'
import { decodeSpooled } from '../../lib/telemetry/queue.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'

/** What the rule selects of a message. */
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

/** What is kept of a message that comes to nothing. */
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
  telemetry: Telemetry
  deadLetters: DeadLetters
}

/**
 * Resolves when the message is durable: as readings, or with the reason among the dead letters.
 * @throws {AppError} UNAVAILABLE when neither could be done: the message is to be sent again.
 */
export const ingestTelemetry = ({ log, devices, telemetry, deadLetters }: Deps) => {
  const bury = async (message: Message, reason: string, indexes?: readonly number[]) => {
    await deadLetters.keep({ ...message, reason, indexes })
    const { deviceId, messageId } = message
    log.warn('message kept among the dead letters', { device_id: deviceId, message_id: messageId, reason })
  }
  /** Nothing of it was counted yet. */
  const buryWhole = async (message: Message, reason: string) => {
    await bury(message, reason)
    await telemetry.countRefused(message.deviceId ?? 0, message.receivedAt)
  }

  return async (event: TelemetryEvent, spooled = false): Promise<void> => {
    const { topic, received_at: receivedAt, message_id: messageId } = event
    const payload = Buffer.from(event.payload, 'base64')
    const { deviceId, kind, subtopic } = parseDeviceTopic(topic) ?? {}
    const message = { deviceId, topic, payload, receivedAt, messageId }
    if (deviceId === undefined || kind !== 'telemetry')
      return buryWhole(message, 'The topic is not one of telemetry.')
    const device = await devices.find(deviceId)
    if (device === undefined) return buryWhole(message, 'There is no such device.')
    if (device.status === 'inactive') return buryWhole(message, 'The device is inactive.')
    let body: unknown
    try {
      body = decodeJson(payload)
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      devices.seen(deviceId)
      return buryWhole(message, error.message)
    }
    try {
      const { accepted, rejected } = await telemetry.ingest(device, body, {
        receivedAt,
        messageId,
        subtopic,
        spooled,
      })
      devices.seen(deviceId)
      if (rejected.length > 0) {
        const [first] = rejected
        await bury(
          message,
          `${rejected.length} of ${accepted + rejected.length} readings were refused; [${first?.index}] ${first?.message}`,
          rejected.map(({ index }) => index),
        )
      }
    } catch (error) {
      if (!(error instanceof AppError) || error.code === 'UNAVAILABLE' || error.code === 'INTERNAL')
        throw error
      devices.seen(deviceId)
      await bury(message, error.message)
    }
  }
}

/** What AWS IoT puts into the queue when it could not hand a message to the function. */
interface RuleFailure {
  readonly topic: string
  readonly clientId: string
  readonly base64OriginalPayload: string
}

const isEvent = (said: Partial<TelemetryEvent>): said is TelemetryEvent =>
  typeof said.payload === 'string' &&
  typeof said.topic === 'string' &&
  typeof said.message_id === 'string' &&
  Number.isSafeInteger(said.received_at)

/** The message in a record of the queue, whoever put it there; undefined for one that nobody of ours did. */
const eventOf = ({ body, messageId, attributes }: SQSRecord): TelemetryEvent | undefined => {
  const said = decodeJson(Buffer.from(body)) as Partial<
    TelemetryEvent & RuleFailure & { requestPayload: TelemetryEvent }
  >
  // The rule's own words, by the rule or, after the function failed, by Lambda.
  const event = said.requestPayload ?? said
  if (isEvent(event)) return event
  if (typeof said.base64OriginalPayload !== 'string' || typeof said.topic !== 'string') return undefined
  return {
    payload: said.base64OriginalPayload,
    topic: said.topic,
    client_id: said.clientId ?? '',
    // Of the record: the same at every try of it.
    received_at: Number(attributes.SentTimestamp),
    message_id: messageId,
  }
}

/** What there is to store in a record; undefined where nobody of ours wrote it, JSON or not: no further try would change that. */
const contentOf = (record: SQSRecord): { delivery?: Delivery; event?: TelemetryEvent } | undefined => {
  try {
    const delivery = decodeSpooled(JSON.parse(record.body))
    if (delivery !== undefined) return { delivery }
    const event = eventOf(record)
    return event && { event }
  } catch {
    return undefined
  }
}

/** Takes each record for itself: only those that could not be stored come again. */
export const ingestQueue =
  ({ log, telemetry, deadLetters, ...others }: Deps) =>
  async ({ Records }: SQSEvent): Promise<SQSBatchResponse> => {
    const ingest = ingestTelemetry({ log, telemetry, deadLetters, ...others })
    const take = async (record: SQSRecord) => {
      const { delivery, event } = contentOf(record) ?? {}
      if (delivery !== undefined) return telemetry.restore(delivery)
      if (event !== undefined) return ingest(event, true)
      await deadLetters.keep({
        deviceId: undefined,
        topic: '',
        payload: Buffer.from(record.body),
        reason: 'Nothing of this system put the message into the queue.',
        receivedAt: Number(record.attributes.SentTimestamp),
        messageId: record.messageId,
      })
    }
    const results = await Promise.allSettled(Records.map(take))
    const failed = Records.filter((_, at) => results[at]?.status === 'rejected')
    if (failed.length > 0)
      log.warn('messages of the queue come again', { failed: failed.length, of: Records.length })
    return { batchItemFailures: failed.map(({ messageId }) => ({ itemIdentifier: messageId })) }
  }

export const handler = onEvent(async () => {
  const deps = {
    log: runtime.log(),
    devices: await runtime.devices(),
    telemetry: await runtime.telemetry(),
    deadLetters: await runtime.deadLetters(),
  }
  const [ingest, queue] = [ingestTelemetry(deps), ingestQueue(deps)]
  return (event: TelemetryEvent | SQSEvent): Promise<unknown> =>
    'Records' in event ? queue(event) : ingest(event)
})
