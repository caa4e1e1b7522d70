/** Telemetry that goes to the intake of this process beside the function of its rule, in the order of each device. */
import type { AppError } from '../../lib/errors.ts'
import type { TopicTree } from '../../lib/mqtt/topics.ts'
import type { TakeMessage } from '../../lib/telemetry/delivery.ts'
import type { RuleMessage } from './rules.ts'

/** What a topic of telemetry names. */
export interface TelemetryTopic {
  readonly deviceId: number
  /** The part of the topic behind `telemetry/`. */
  readonly subtopic: string | undefined
}

/** @returns undefined for a topic that is not one of telemetry. */
export function telemetryTopicOf(topics: TopicTree | undefined, topic: string): TelemetryTopic | undefined {
  const { deviceId, kind, subtopic } = topics?.parse(topic) ?? {}
  return deviceId === undefined || kind !== 'telemetry' ? undefined : { deviceId, subtopic }
}

export class DirectTelemetry {
  readonly #take: TakeMessage | undefined
  /** Messages that their function has not stored yet, by device. */
  readonly #calls = new Map<number, number>()

  /** @param take the short way; undefined where every message goes to its function. */
  constructor(take: TakeMessage | undefined) {
    this.#take = take
  }

  /**
   * @param ended called once, when the message is durable, or with why it is not.
   * @returns false for a message that its function has to take.
   */
  take(
    telemetry: TelemetryTopic | undefined,
    { payload, receivedAt, messageId }: RuleMessage,
    ended: (failure?: AppError) => void,
  ): boolean {
    if (this.#take === undefined || telemetry === undefined) return false
    // A message must not overtake an earlier one of its device: of two values for one time, the last one counts.
    if (this.#calls.has(telemetry.deviceId)) return false
    try {
      // A spread of it took a tenth of the CPU time of a message.
      const { deviceId, subtopic } = telemetry
      return this.#take({ deviceId, subtopic, payload, receivedAt, messageId }, ended)
    } catch {
      // The function fails at it, too, and the log then says so: an error that left here would end the process.
      return false
    }
  }

  /** Keeps later messages of the device behind a call of the function. @returns ends that; to be called once. */
  callBegins(telemetry: TelemetryTopic | undefined): () => void {
    if (telemetry === undefined) return nothing
    const { deviceId } = telemetry
    this.#calls.set(deviceId, (this.#calls.get(deviceId) ?? 0) + 1)
    return () => {
      const left = (this.#calls.get(deviceId) ?? 1) - 1
      if (left === 0) this.#calls.delete(deviceId)
      else this.#calls.set(deviceId, left)
    }
  }
}

const nothing = (): void => undefined
