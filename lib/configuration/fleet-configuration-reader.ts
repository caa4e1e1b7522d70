/** Changes of the configuration of many devices, with how far they have come. It reads only, so that a function with it needs no broker. */
import { sql } from 'drizzle-orm'
import { AppError } from '../errors.ts'
import { formatMillis } from '../iso-time.ts'
import type { RegistryDb } from '../registry/db.ts'
import { progressOf } from './fleet-statements.ts'

export const fleetStatuses = ['applying', 'publishing', 'done'] as const

/** A change with how far it has come. Times are milliseconds since the epoch. */
export interface FleetConfiguration {
  readonly id: number
  readonly filter: unknown
  readonly keys: readonly string[]
  readonly status: (typeof fleetStatuses)[number]
  /** Devices that matched when the change was made. */
  readonly targets: number
  /** Devices of them by what has become of the change; one that is deleted counts nowhere. */
  readonly waiting: number
  readonly refused: number
  readonly applied: number
  readonly published: number
  readonly inSync: number
  readonly createdAt: number
  readonly appliedAt: number | null
}

/** Changes that are kept. */
export const kept = 100

interface Row {
  readonly id: number
  readonly filter: string
  readonly changes: string
  readonly targets: number
  readonly created_at: number
  readonly applied_at: number | null
}

interface Progress {
  readonly id: number
  readonly waiting: number
  readonly refused: number
  readonly applied: number
  readonly published: number
  readonly in_sync: number
}

const timeOrNull = (ms: number | null) => (ms === null ? null : formatMillis(ms))

/** A change as answers show it. */
export const fleetConfigurationView = (fleet: FleetConfiguration) => ({
  fleet_configuration_id: fleet.id,
  filter: fleet.filter as Record<string, unknown>,
  keys: [...fleet.keys],
  state: fleet.status,
  targets: fleet.targets,
  waiting: fleet.waiting,
  refused: fleet.refused,
  applied: fleet.applied,
  published: fleet.published,
  in_sync: fleet.inSync,
  created_at: formatMillis(fleet.createdAt),
  applied_at: timeOrNull(fleet.appliedAt),
})

export class FleetConfigurationReader {
  readonly #options: { readonly db: RegistryDb; readonly hasBroker: boolean }

  constructor(options: { readonly db: RegistryDb; readonly hasBroker: boolean }) {
    this.#options = options
  }

  /** @throws {AppError} NOT_FOUND */
  async get(id: number): Promise<FleetConfiguration> {
    const [found] = await this.#read(sql`where id = ${id}`)
    if (found === undefined) throw new AppError('NOT_FOUND', 'There is no such change of the fleet.')
    return found
  }

  /** The last 100, newest first. */
  list(): Promise<FleetConfiguration[]> {
    return this.#read(sql`order by id desc limit ${kept}`)
  }

  async #read(which: ReturnType<typeof sql>): Promise<FleetConfiguration[]> {
    const { db, hasBroker } = this.#options
    const rows = await db.all<Row>(sql`select * from fleet_configurations ${which}`)
    const progress = await db.all<Progress>(progressOf(JSON.stringify(rows.map(({ id }) => id))))
    const byId = new Map(progress.map((one) => [one.id, one]))
    return rows.map((row) => {
      const none = { waiting: 0, refused: 0, applied: 0, published: 0, in_sync: 0 }
      const { in_sync: inSync, ...counts } = { ...none, ...byId.get(row.id) }
      const isPublished = !hasBroker || counts.published >= counts.applied
      return {
        ...counts,
        inSync,
        id: row.id,
        filter: JSON.parse(row.filter),
        keys: Object.keys(JSON.parse(row.changes) as object),
        status: counts.waiting > 0 ? 'applying' : isPublished ? 'done' : 'publishing',
        targets: row.targets,
        createdAt: row.created_at,
        appliedAt: row.applied_at,
      }
    })
  }
}
