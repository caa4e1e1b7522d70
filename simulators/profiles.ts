/** How often devices of a kind measure, send and report that they are alive. */

export interface Profile {
  /** Seconds between two readings. */
  readonly intervalS: number
  /** Seconds between two heartbeats. */
  readonly heartbeatS: number
  /** Readings that are gathered before they are sent together; 1: each is sent at once. */
  readonly gathered: number
}

export const profiles = {
  default: { intervalS: 10, heartbeatS: 60, gathered: 1 },
  high_frequency: { intervalS: 1, heartbeatS: 30, gathered: 1 },
  energy_efficient: { intervalS: 30, heartbeatS: 600, gathered: 10 },
  industrial: { intervalS: 2, heartbeatS: 15, gathered: 1 },
} as const satisfies Record<string, Profile>

export type ProfileName = keyof typeof profiles
export const profileNames = Object.keys(profiles) as readonly ProfileName[]
