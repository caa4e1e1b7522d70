/** Called by the rules for `…/commands/response` and `…/commands/{command_id}/response`: records answers of devices. */
import * as z from 'zod'
import type { Commands } from '../../lib/commands/commands.ts'
import { answerState } from '../../lib/commands/fields.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { AppError } from '../../lib/errors.ts'
import { formatMillis } from '../../lib/iso-time.ts'
import { decodeJson, isNestedWithin, maxLevels } from '../../lib/json.ts'
import type { Log } from '../../lib/log.ts'
import type { TopicTree } from '../../lib/mqtt/topics.ts'
import * as runtime from '../../lib/runtime.ts'
import { webhookWaker } from '../../lib/runtime-webhooks.ts'
import { serveEvents } from '../../lib/serve.ts'
import type { Waker } from '../../lib/webhooks/waker.ts'

/** The fields of a message that the rules select. */
export interface AnswerEvent {
  /** Base64. */
  readonly payload: string
  readonly topic: string
  readonly client_id: string
  /** Milliseconds since the epoch. */
  readonly received_at: number
  /** Of MQTT 5, in Base64 or as text; left out when there is none. */
  readonly correlation_data?: string
}

const Payload = z.object({
  command_id: z.string().max(128).optional(),
  status: answerState,
  result: z.json().optional(),
})

interface Deps {
  log: Log
  devices: Pick<Devices, 'noteRepeated'>
  commands: Pick<Commands, 'answer'>
  topics: TopicTree
  /** Undefined where webhooks are told without it. */
  waker?: Waker | undefined
}

const payloadOf = (event: AnswerEvent) => {
  let content: unknown
  try {
    content = decodeJson(Buffer.from(event.payload, 'base64'))
  } catch (error) {
    if (!(error instanceof AppError)) throw error
  }
  return isNestedWithin(maxLevels, content) ? Payload.safeParse(content).data : undefined
}

/** AWS does not say in which of the two forms a rule gets it. No Base64 has the `-` of a command id, so that it tells them apart. */
const correlationText = (data: string): string =>
  data.includes('-') ? data : Buffer.from(data, 'base64').toString()

export const recordAnswer = ({ log, devices, commands, topics, waker }: Deps) => {
  /** Counts an answer that changes nothing because it fits no command: over MQTT nobody can be told. */
  const noteUseless = (deviceId: number, code: string, at: number) => {
    const day = formatMillis(at).slice(0, 10)
    devices.noteRepeated({ deviceId, kind: 'warning', key: `${code} ${day}`, detail: { code } })
    log.warn('answer to a command ignored', { device_id: deviceId, reason: code })
  }

  return async (event: AnswerEvent): Promise<void> => {
    const { topic, received_at: at, correlation_data: correlation } = event
    const { deviceId, kind, commandId: fromTopic } = topics.parse(topic) ?? {}
    if (deviceId === undefined || kind !== 'commands/response') return
    const payload = payloadOf(event)
    const fromProperty = correlation === undefined ? undefined : correlationText(correlation)
    const commandId = fromTopic ?? payload?.command_id ?? fromProperty
    if (payload === undefined || commandId === undefined) {
      noteUseless(deviceId, 'INVALID_COMMAND_ANSWER', at)
      return
    }
    const { status, result } = payload
    const outcome = await commands.answer({ deviceId, commandId, status, result, at })
    if (outcome === 'applied') await waker?.wake()
    if (outcome === 'unknown') noteUseless(deviceId, 'UNKNOWN_COMMAND', at)
  }
}

export const handler = serveEvents(recordAnswer, {
  devices: runtime.devices,
  commands: runtime.commandDesk,
  topics: runtime.topics,
  waker: webhookWaker,
})
