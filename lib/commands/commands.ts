/**
 * Commands to devices. This file states what the service promises: a command is stored before anybody is told of it, reaches
 * the device in order with the others of the device, and ends in exactly one final state.
 */
import type { AnswerOutcome } from './answers.ts'
import type { Answer, Command, CommandState, NewCommand } from './command.ts'
import type { Occasion } from './delivery-store.ts'
import type { WaitOutcome } from './held-polls.ts'
import type { SubscriptionEvent } from './subscriptions.ts'

export interface CommandQuery {
  readonly status?: CommandState | undefined
  readonly limit: number
  /** `id` of a command; only older ones are listed. */
  readonly before?: number | undefined
}

/** What became of commands for many devices. */
export interface CreatedCommands {
  /** Devices that got a command, with its id. */
  readonly created: readonly { readonly deviceId: number; readonly commandId: string }[]
  /** Devices that have {@link maxUnfinished} commands already, or one of the fleet command, and ids that are no device. */
  readonly refused: readonly number[]
}

export interface Commands {
  /**
   * Stores a command and begins to deliver it, without waiting for that.
   * @throws {AppError} NOT_FOUND, CONFLICT when too many commands of the device are not finished, VALIDATION_FAILED when it is
   * too large for one message.
   */
  create(deviceId: number, command: NewCommand): Promise<Command>
  /**
   * Stores one command for each device with one statement, and begins to deliver them. A device has at most one command of a
   * fleet command.
   * @throws {AppError} VALIDATION_FAILED when it is too large for one message.
   */
  createMany(
    deviceIds: readonly number[],
    command: NewCommand & { readonly fleetCommandId: string },
  ): Promise<CreatedCommands>
  /** @throws {AppError} NOT_FOUND, also for a command of another device. */
  get(deviceId: number, commandId: string): Promise<Command>
  /** Newest first. */
  list(deviceId: number, query: CommandQuery): Promise<Command[]>
  /** @throws {AppError} NOT_FOUND, CONFLICT when it has another final state. */
  cancel(deviceId: number, commandId: string): Promise<Command>
  /** Cancels those of a fleet command that have not ended. @returns how many. */
  cancelFleet(fleetCommandId: string): Promise<number>

  /**
   * The commands that a device asks for over HTTP, in order; they count as sent. One that was sent and is not answered comes
   * again after 30 s.
   */
  take(deviceId: number): Promise<Command[]>
  /**
   * Resolves when there is a command to {@link take}, after `ms`, or when the signal or the end of the process ends the wait.
   * @returns why it ended; `full` at once when too many devices wait already.
   */
  wait(deviceId: number, ms: number, signal: AbortSignal): Promise<WaitOutcome>
  /** Ends all waits, before the server stops to answer. */
  endWaits(): void

  /**
   * Records an answer; one that is late, double or out of order changes nothing.
   * @throws {AppError} UNAVAILABLE when it could not be written.
   */
  answer(answer: Answer): Promise<AnswerOutcome>

  /** Delivers what waits for these devices, over MQTT. Resolves when it was tried. */
  deliver(deviceIds: readonly number[], occasion: Occasion): Promise<void>
  /** A device may get commands from now on, or no more. Resolves when those that waited were tried. */
  subscribed(event: SubscriptionEvent): Promise<void>
  /** A client has confirmed a delivery; written with others a moment later. */
  received(deviceId: number, commandId: string): void
  /** Frees what an earlier process was delivering when it ended. Only for the one process of a registry, before it delivers. */
  endClaims(): Promise<void>
  /** Expires, and delivers what is due. Called at intervals, by one process at a time. */
  sweep(): Promise<void>
  /** Resolves when what this process was delivering is recorded. */
  settled(): Promise<void>
  /** Ends the waits, and finishes the deliveries under way. */
  close(): Promise<void>
}
