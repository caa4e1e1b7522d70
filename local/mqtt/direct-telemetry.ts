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

/** A message that waits until something about its device is read. */
interface Held {
  readonly telemetry: TelemetryTopic
  readonly message: RuleMessage
  readonly ended: (failure?: AppError) => void
  readonly call: () => void
}

/** Reads for which a message waits: of its device, of the alert rules, and of the names of its fields. */
const mostReads = 3

export class DirectTelemetry {
  readonly #take: TakeMessage | undefined
  /** Messages that their function has not stored yet, by device. */
  readonly #calls = new Map<number, number>()
  /**
   * By device, in their order. Were their function called instead, all later messages of the device would follow them there for as long
   * as one is under way: with many messages, for ever, at twice the CPU.
   */
  readonly #held = new Map<number, Held[]>()

  /** @param take the short way; undefined where every message goes to its function. */
  constructor(take: TakeMessage | undefined) {
    this.#take = take
  }

  /**
   * Has a message stored, or its function called: at once, or when what the short way has to know about its device is read.
   * @param ended called once, when the message is durable, or with why it is not; never where its function is called.
   * @param call calls the function; called at most once.
   */
  handOver(
    telemetry: TelemetryTopic | undefined,
    message: RuleMessage,
    ended: (failure?: AppError) => void,
    call: () => void,
  ): void {
    const held = telemetry && this.#held.get(telemetry.deviceId)
    if (telemetry === undefined) call()
    else if (held !== undefined) held.push({ telemetry, message, ended, call })
    else {
      const taken = this.#tryToTake(telemetry, message, ended)
      if (taken === false) call()
      else if (taken !== true) void this.#hold({ telemetry, message, ended, call }, taken)
    }
  }

  /** Takes messages of a device in their order when what is missing is read, or has their function called. Never rejects. */
  async #hold(first: Held, firstRead: Promise<unknown>): Promise<void> {
    const { deviceId } = first.telemetry
    // Others are added at its end meanwhile.
    const held = [first]
    this.#held.set(deviceId, held)
    let at = 0
    let read: Promise<unknown> | undefined = firstRead
    for (let reads = 1; read !== undefined; reads += 1) {
      const isRead: boolean = await read.then(
        () => true,
        () => false,
      )
      read = undefined
      for (; at < held.length && read === undefined; at += 1) {
        const { telemetry, message, ended, call } = held[at] as Held
        const taken: boolean | Promise<unknown> = isRead && this.#tryToTake(telemetry, message, ended)
        if (taken === true) continue
        if (taken === false) call()
        else if (reads < mostReads) {
          read = taken
          at -= 1
        } else {
          taken.catch(nothing)
          call()
        }
      }
    }
    this.#held.delete(deviceId)
  }

  #tryToTake(
    { deviceId, subtopic }: TelemetryTopic,
    { payload, receivedAt, messageId }: RuleMessage,
    ended: (failure?: AppError) => void,
  ): boolean | Promise<unknown> {
    // A message must not overtake an earlier one of its device: of two values for one time, the last one counts.
    if (this.#take === undefined || this.#calls.has(deviceId)) return false
    try {
      // A spread of the topic took a tenth of the CPU time of a message.
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
