/** By rule from `iotflow/devices/+/telemetry/#`: what devices publish over MQTT. */
import { onEvent } from '../../lib/built.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { AppError } from '../../lib/errors.ts'
import { decodeJson } from '../../lib/json.ts'
import type { Log } from '../../lib/log.ts'
import { parseDeviceTopic } from '../../lib/mqtt/topics.ts'
import * as runtime from '../../lib/runtime.ts'
import type { DeadLetters } from '../../lib/telemetry/dead-letters.ts'
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
export const ingestTelemetry =
  ({ log, devices, telemetry, deadLetters }: Deps) =>
  async (event: TelemetryEvent): Promise<void> => {
    const { topic, received_at: receivedAt, message_id: messageId } = event
    const payload = Buffer.from(event.payload, 'base64')
    const { deviceId, kind, subtopic } = parseDeviceTopic(topic) ?? {}
    const bury = async (reason: string, indexes?: readonly number[]) => {
      await deadLetters.keep({ deviceId, topic, payload, reason, receivedAt, messageId, indexes })
      log.warn('message kept among the dead letters', { device_id: deviceId, message_id: messageId, reason })
    }
    /** Nothing of it was counted yet. */
    const buryWhole = async (reason: string) => {
      await bury(reason)
      await telemetry.countRefused(deviceId ?? 0, receivedAt)
    }
    if (deviceId === undefined || kind !== 'telemetry') return buryWhole('The topic is not one of telemetry.')
    const device = await devices.find(deviceId)
    if (device === undefined) return buryWhole('There is no such device.')
    if (device.status === 'inactive') return buryWhole('The device is inactive.')
    let body: unknown
    try {
      body = decodeJson(payload)
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      devices.seen(deviceId)
      return buryWhole(error.message)
    }
    try {
      const { accepted, rejected } = await telemetry.ingest(device, body, { receivedAt, messageId, subtopic })
      devices.seen(deviceId)
      if (rejected.length > 0) {
        const [first] = rejected
        await bury(
          `${rejected.length} of ${accepted + rejected.length} readings were refused; [${first?.index}] ${first?.message}`,
          rejected.map(({ index }) => index),
        )
      }
    } catch (error) {
      if (!(error instanceof AppError) || error.code === 'UNAVAILABLE' || error.code === 'INTERNAL')
        throw error
      devices.seen(deviceId)
      await bury(error.message)
    }
  }

export const handler = onEvent(async () =>
  ingestTelemetry({
    log: runtime.log(),
    devices: await runtime.devices(),
    telemetry: await runtime.telemetry(),
    deadLetters: await runtime.deadLetters(),
  }),
)
