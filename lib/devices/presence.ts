/**
 * Presence over MQTT: status messages of devices and their wills, and session events of the broker. Events may arrive twice,
 * late and in any order. A fleet that comes back connects at once, so that events are written in groups: one transaction takes
 * those of hundreds of devices.
 */
import { sql } from 'drizzle-orm'
import { GroupCommit } from '../group-commit.ts'
import type { RegistryDb } from '../registry/db.ts'
import type { Device } from './device.ts'
import {
  maxClients,
  newestFirst,
  type PresenceRow,
  type PresenceState,
  presenceStatements,
  presenceStates,
  pruneSessions,
} from './presence-statements.ts'

/** A lifecycle event of the broker about one connection. */
export interface SessionEvent {
  readonly deviceId: number
  readonly clientId: string
  /** The broker gives it to one connection: the events of its begin and its end share it. */
  readonly sessionId: string
  /** Rises with each connection of a client id; starts again when the client was not connected for about an hour. */
  readonly version: number
  readonly kind: 'connected' | 'disconnected'
  /** Milliseconds since the epoch, by the clock of the broker. */
  readonly at: number
  /** The reason of a disconnect, in the broker's words. */
  readonly reason?: string | undefined
}

/** A message on one of the status topics. */
export interface StatusReport {
  readonly deviceId: number
  readonly clientId: string
  readonly status: 'online' | 'offline'
  /** Time of arrival, milliseconds since the epoch. */
  readonly at: number
}

export interface Presence {
  /**
   * Records a session event of the broker.
   * @returns whether the device may be connected: it exists, is not inactive and has a valid key.
   */
  session(event: SessionEvent): Promise<boolean>
  /** Records a status message of a device. */
  report(report: StatusReport): Promise<void>
  /** The last 200 client ids of a device, which are all that is kept, each with whether its session is open as far as is known. */
  clients(deviceId: number): Promise<Map<string, boolean>>
  /**
   * Ends every session, because the broker has started again. A device stays online for a while, as after any message: one that
   * connects again meanwhile was never offline.
   * @param at milliseconds since the epoch.
   */
  reset(at: number): Promise<void>
}

/** What a presence event changes of a device. */
export type PresenceChange = Pick<Device, 'offlineAt' | 'lastSeenAt' | 'connectedAt'>

export interface PresenceOptions {
  readonly db: RegistryDb
  /** Seconds; for devices without a value of their own. */
  readonly offlineAfterS: number
  /** Called after each write with what a device's row has now. */
  readonly onChange?: (deviceId: number, change: PresenceChange) => void
  /** Milliseconds since the epoch. */
  readonly now?: () => number
  /** Time between two transactions, ms; 0 by default. */
  readonly restMs?: number | undefined
}

/** Events of one transaction. 500 take about 15 ms on a file. */
const maxGroup = 500
/** Events that may wait: the broker tries those that are refused again. */
const maxWaiting = 50_000

const rowOfSession = (event: SessionEvent): PresenceRow => ({
  device: event.deviceId,
  client: event.clientId,
  kind: event.kind,
  at: event.at,
  online: event.kind === 'connected' ? 1 : 0,
  detail: JSON.stringify({ by: 'broker', client_id: event.clientId, reason: event.reason }),
  session: event.sessionId,
  version: event.version,
})

const rowOfReport = ({ deviceId, clientId, status, at }: StatusReport): PresenceRow => ({
  device: deviceId,
  client: clientId,
  kind: status,
  at,
  online: status === 'online' ? 1 : 0,
  detail: JSON.stringify({ by: 'device', client_id: clientId }),
})

/** The n-th round has the n-th event of each device, so that the events of a device stay in their order. */
const roundsOf = (rows: readonly PresenceRow[]): PresenceRow[][] => {
  const rounds: PresenceRow[][] = []
  const taken = new Map<number, number>()
  for (const row of rows) {
    const round = taken.get(row.device) ?? 0
    taken.set(row.device, round + 1)
    rounds[round] ??= []
    rounds[round].push(row)
  }
  return rounds
}

export function createPresence(options: PresenceOptions): Presence {
  return new GroupedPresence(options)
}

class GroupedPresence implements Presence {
  readonly #options: PresenceOptions
  readonly #group: GroupCommit<PresenceRow, PresenceState | undefined>

  constructor(options: PresenceOptions) {
    this.#options = options
    const { restMs } = options
    this.#group = new GroupCommit({ write: (rows) => this.#write(rows), maxGroup, maxWaiting, restMs })
  }

  async session(event: SessionEvent): Promise<boolean> {
    return (await this.#group.add(rowOfSession(event)))?.mayConnect === 1
  }

  async report(report: StatusReport): Promise<void> {
    await this.#group.add(rowOfReport(report))
  }

  async clients(deviceId: number): Promise<Map<string, boolean>> {
    const rows = await this.#options.db.all<{ client_id: string; open: number }>(
      sql`select client_id, ended_at is null as open from sessions where device_id = ${deviceId}
        order by ${newestFirst} limit ${maxClients}`,
    )
    return new Map(rows.map(({ client_id, open }) => [client_id, open === 1]))
  }

  async reset(at: number): Promise<void> {
    await this.#group.settled()
    // The broker also starts its versions again: with -1 every version is newer.
    await this.#options.db.run(sql`update sessions set ended_at = coalesce(ended_at, ${at}), version = -1`)
  }

  async #write(rows: readonly PresenceRow[]): Promise<(PresenceState | undefined)[]> {
    const { db, offlineAfterS, onChange, now = Date.now } = this.#options
    const at = now()
    const ids = JSON.stringify([...new Set(rows.map(({ device }) => device))])
    const statements = roundsOf(rows).flatMap((round) =>
      presenceStatements(round, { now: at, offlineAfterS }),
    )
    const all = [...statements, pruneSessions(ids), presenceStates(ids, at)]
    const queries = all.map((statement) => db.all<PresenceState>(statement))
    // Only the last statement has rows.
    const results = await db.batch(queries as [(typeof queries)[number], ...typeof queries])
    const states = results.at(-1) ?? []
    for (const { id, offlineAt, lastSeenAt, connectedAt } of states)
      onChange?.(id, { offlineAt, lastSeenAt, connectedAt })
    const stateOf = new Map(states.map((state) => [state.id, state]))
    return rows.map(({ device }) => stateOf.get(device))
  }
}
