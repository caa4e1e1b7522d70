/** A command to many devices at once: what it consists of, its bounds, and how operators see it. */
import { formatMillis } from '../iso-time.ts'
import type { fleetCommandStates } from '../registry/schema.ts'
import type { Channel, CommandState } from './command.ts'

/** `canary`: only the first devices have it. The last three are final. */
export type FleetCommandStatus = (typeof fleetCommandStates)[number]

/** The devices that a command is for: those that fit every given part, and are not inactive. */
export interface FleetFilter {
  readonly deviceType?: string | undefined
  /** The whole text; upper and lower case are the same. */
  readonly location?: string | undefined
  /** As `parseSelector` takes it. */
  readonly selector?: string | undefined
  readonly ids?: readonly number[] | undefined
}

export interface NewFleetCommand {
  readonly command: string
  readonly params?: unknown
  readonly channel?: Channel | null | undefined
  readonly ttlS?: number | undefined
  readonly maxAttempts?: number | undefined
  readonly filter: FleetFilter
  /** Devices that get it in one second; undefined: as many as the broker takes. */
  readonly ratePerS?: number | undefined
  /** Devices that get it first: a share below 1, or a number from 1; undefined: none. */
  readonly canary?: number | undefined
  /** Seconds after which the rest gets it although not every canary has answered; undefined: it waits for all of them. */
  readonly canaryWaitS?: number | undefined
  /** Ends the command when more than this share of the results are failures, 0–1. */
  readonly failedShare?: number | undefined
  /** Results that there must be before the share counts; the canaries are judged together, whatever their number. */
  readonly minResults?: number | undefined
}

/** How many targets are in which state. `skipped`: full of unfinished commands, or deleted. */
export type Progress = Readonly<Record<CommandState | 'skipped', number>>

/** Times are milliseconds since the epoch; null until they happen. */
export interface FleetCommand {
  /** Cursor of lists. */
  readonly id: number
  readonly fleetCommandId: string
  readonly command: string
  readonly params: unknown
  readonly channel: Channel | null
  readonly maxAttempts: number
  readonly filter: FleetFilter
  readonly ratePerS: number | null
  readonly canaries: number
  readonly canaryWaitS: number | null
  readonly failedShare: number | null
  readonly minResults: number
  readonly status: FleetCommandStatus
  /** Why it was aborted. */
  readonly reason: string | null
  /** Devices that it was for when it was made. */
  readonly targets: number
  readonly issuedAt: number
  readonly expiresAt: number
  readonly finishedAt: number | null
  readonly progress: Progress
}

/** Ids in one filter. */
export const maxIds = 10_000
export const maxRatePerS = 10_000
export const maxCanaries = 100_000
export const defaultMinResults = 10

const filterView = ({ deviceType, location, selector, ids }: FleetFilter) => ({
  ...(deviceType === undefined ? {} : { device_type: deviceType }),
  ...(location === undefined ? {} : { location }),
  ...(selector === undefined ? {} : { selector }),
  ...(ids === undefined ? {} : { ids: [...ids] }),
})

/** A fleet command as operators see it. */
export const fleetCommandView = (fleet: FleetCommand) => ({
  fleet_command_id: fleet.fleetCommandId,
  command: fleet.command,
  params: fleet.params,
  channel: fleet.channel,
  max_attempts: fleet.maxAttempts,
  filter: filterView(fleet.filter),
  rate_per_s: fleet.ratePerS,
  canaries: fleet.canaries,
  canary_wait_s: fleet.canaryWaitS,
  abort:
    fleet.failedShare === null ? null : { failed_share: fleet.failedShare, min_results: fleet.minResults },
  status: fleet.status,
  reason: fleet.reason,
  targets: fleet.targets,
  progress: { ...fleet.progress },
  issued_at: formatMillis(fleet.issuedAt),
  expires_at: formatMillis(fleet.expiresAt),
  finished_at: fleet.finishedAt === null ? null : formatMillis(fleet.finishedAt),
})
