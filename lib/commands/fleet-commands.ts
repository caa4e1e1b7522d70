/**
 * Commands to many devices. This file states what the service promises: the devices are fixed when the command is made, each
 * gets it at most once, and progress counts every one of them in exactly one state.
 */

import type { Command, CommandState } from './command.ts'
import type { FleetCommand, NewFleetCommand } from './fleet-command.ts'

export interface FleetCommands {
  /**
   * Stores the command with its devices, and begins to release it.
   * @throws {AppError} VALIDATION_FAILED when it fits no device, or is too large for one message.
   */
  create(command: NewFleetCommand): Promise<FleetCommand>
  /** @throws {AppError} NOT_FOUND */
  get(fleetCommandId: string): Promise<FleetCommand>
  /** Newest first. @param before `id` of a fleet command; only older ones are listed. */
  list(query: { readonly limit: number; readonly before?: number | undefined }): Promise<FleetCommand[]>
  /** The commands to single devices that belong to it, in the order of the devices. @param after id of a device. */
  commandsOf(
    fleetCommandId: string,
    query: {
      readonly status?: CommandState | undefined
      readonly limit: number
      readonly after?: number | undefined
    },
  ): Promise<Command[]>
  /**
   * Ends it: no further device gets it, and commands that are not finished are cancelled.
   * @throws {AppError} NOT_FOUND, CONFLICT when it has ended already.
   */
  cancel(fleetCommandId: string): Promise<FleetCommand>
}
