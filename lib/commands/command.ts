/** A command to a device: its states, its bounds, and how devices and operators see it. */
import { formatMillis } from '../iso-time.ts'
import type { DeviceTopics } from '../mqtt/topics.ts'
import type { commandStates } from '../registry/schema.ts'

export type CommandState = (typeof commandStates)[number]

/** Names of the last topic level below `…/commands/`, as the devices of the predecessor subscribe to them. */
export const channels = ['control', 'config', 'firmware'] as const
export type Channel = (typeof channels)[number]

/** States that a device answers with. */
export const answerStates = ['acknowledged', 'succeeded', 'failed'] as const
export type AnswerState = (typeof answerStates)[number]

export const finalStates = ['succeeded', 'failed', 'expired', 'cancelled'] as const satisfies CommandState[]

/** What a caller says of a new command. */
export interface NewCommand {
  readonly command: string
  /** Any value of JSON; null when there are none. */
  readonly params?: unknown
  /** The last level of the topic; null for `…/commands` itself. */
  readonly channel?: Channel | null | undefined
  /** Seconds, 1–{@link maxTtlS}. */
  readonly ttlS?: number | undefined
  /** Deliveries that may be made while no answer comes, 1–{@link mostAttempts}. */
  readonly maxAttempts?: number | undefined
}

/** Times are milliseconds since the epoch; null until they happen. */
export interface Command {
  /** Place in the order of delivery, and cursor of lists. */
  readonly id: number
  readonly commandId: string
  readonly deviceId: number
  /** Of a command that went to several devices at once. */
  readonly fleetCommandId: string | null
  readonly command: string
  readonly params: unknown
  readonly channel: Channel | null
  readonly status: CommandState
  readonly issuedAt: number
  readonly expiresAt: number
  readonly maxAttempts: number
  /** Deliveries that reached a client of the device. */
  readonly attempts: number
  /** The first delivery. */
  readonly sentAt: number | null
  readonly acknowledgedAt: number | null
  /** Time of the final state. */
  readonly finishedAt: number | null
  /** What the device answered last. */
  readonly result: unknown
}

/** An answer of a device. */
export interface Answer {
  readonly deviceId: number
  readonly commandId: string
  readonly status: AnswerState
  /** Any value of JSON; undefined when the device sent none. */
  readonly result?: unknown
  /** Time of arrival, milliseconds since the epoch. */
  readonly at: number
}

/** Seconds. */
export const defaultTtlS = 86_400
export const maxTtlS = 2_592_000
export const mostAttempts = 10
/** Commands of one device that are not finished. */
export const maxUnfinished = 100
/** Bytes of a published command: AWS IoT Core accepts no larger message. */
export const maxPayloadBytes = 128 * 1024
/** Bytes of a result as JSON. */
export const maxResultBytes = 16 * 1024

const timeOrNull = (ms: number | null) => (ms === null ? null : formatMillis(ms))

/** The topic on which a device gets a command. */
export const commandTopic = ({ commandsSubscribe }: DeviceTopics, channel: Channel | null): string =>
  channel === null ? commandsSubscribe : `${commandsSubscribe}/${channel}`

/** A command as its device sees it, over MQTT and HTTP alike. */
export const commandMessage = ({
  commandId,
  command,
  params,
  issuedAt,
  expiresAt,
}: Pick<Command, 'commandId' | 'command' | 'params' | 'issuedAt' | 'expiresAt'>) => ({
  command_id: commandId,
  command,
  params,
  issued_at: formatMillis(issuedAt),
  expires_at: formatMillis(expiresAt),
})

/** A command as operators see it. */
export const commandView = (one: Command) => ({
  ...commandMessage(one),
  device_id: one.deviceId,
  channel: one.channel,
  status: one.status,
  attempts: one.attempts,
  max_attempts: one.maxAttempts,
  sent_at: timeOrNull(one.sentAt),
  acknowledged_at: timeOrNull(one.acknowledgedAt),
  finished_at: timeOrNull(one.finishedAt),
  result: one.result,
  ...(one.fleetCommandId === null ? {} : { fleet_command_id: one.fleetCommandId }),
})
