/** What a device needs of its connection, whatever the protocol. */

export type Protocol = 'http' | 'mqtt'

/** A device's identity, as registration answers it. */
export interface Identity {
  readonly id: number
  readonly name: string
  readonly apiKey: string
}

/** One message with one or more readings. */
export interface Message {
  /** JSON. */
  readonly payload: string
  /** The connection breaks after the message was sent, before its answer. */
  readonly loseAnswer: boolean
}

/** Whether a message was acknowledged; `refused` gives the reason for each reading of it that was not taken, by index. */
export type Outcome =
  | { readonly acknowledged: true; readonly refused: ReadonlyMap<number, string> }
  | {
      readonly acknowledged: false
      readonly reason: string
      /** True: the server refused it. False: nobody knows, and the device sends it again. */
      readonly final: boolean
    }

/** Everything in the message was taken. */
export const acknowledged: Outcome = { acknowledged: true, refused: new Map() }

export interface CommandMessage {
  readonly command_id: string | number
  readonly command: string
  readonly params?: unknown
}

export interface CommandAnswer {
  readonly status: 'acknowledged' | 'succeeded' | 'failed'
  readonly result?: unknown
}

/** What the server wants of the device, and what happens to the connection. */
export interface UplinkEvents {
  onCommand(command: CommandMessage): void
  onConfiguration(version: number, values: Readonly<Record<string, unknown>>): void
  onConnected(connected: boolean): void
  onRetry(reason: string): void
}

export interface Uplink {
  /** @throws {SimulationError} when nothing answers or the device is refused. */
  connect(): Promise<void>
  /** Resolves when the message is acknowledged or refused, or after `giveUp`. Repeats it until then. */
  send(message: Message): Promise<Outcome>
  /** Says that the device is alive; an HTTP device asks for commands and configuration too. */
  heartbeat(): void
  /** Resolves to true when the server has the answer, and to false when the device gave up before. */
  answerCommand(id: CommandMessage['command_id'], answer: CommandAnswer): Promise<boolean>
  reportConfiguration(version: number): void
  /** Loses the connection; it comes back by itself. */
  disconnect(): void
  /** Messages without an answer are no longer waited for. */
  giveUp(): void
  /** @param goodbye false: the connection breaks, and the broker publishes the last will. */
  close(goodbye: boolean): Promise<void>
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Undefined for anything that is no command, such as an answer of the device itself. */
export function commandOf(value: unknown): CommandMessage | undefined {
  if (!isRecord(value) || typeof value.command !== 'string') return undefined
  const { command_id: id, command, params } = value
  return typeof id === 'string' || typeof id === 'number' ? { command_id: id, command, params } : undefined
}

/** Version and values of a configuration: over MQTT plain values, over HTTP each with its type. */
export function configurationOf(
  value: unknown,
): { version: number; values: Readonly<Record<string, unknown>> } | undefined {
  if (!isRecord(value) || typeof value.version !== 'number' || !isRecord(value.configuration))
    return undefined
  const values = Object.entries(value.configuration).map(([key, item]) => [
    key,
    isRecord(item) && 'data_type' in item ? item.value : item,
  ])
  return { version: value.version, values: Object.fromEntries(values) }
}
