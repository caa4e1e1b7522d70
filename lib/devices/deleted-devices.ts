/** Devices that were deleted while readings of them stayed: an operator reads and deletes those under the old id. */
import { and, eq, gt, sql } from 'drizzle-orm'
import { formatMillis } from '../iso-time.ts'
import type { RegistryDb } from '../registry/db.ts'
import { foldText } from '../registry/folded-texts.ts'
import { deletedDevices, devices } from '../registry/schema.ts'

export interface DeletedDevice {
  readonly id: number
  readonly name: string
  readonly deviceType: string
  readonly timezone: string | null
  /** Milliseconds since the epoch. */
  readonly deletedAt: number
}

export interface DeletedDeviceQuery {
  readonly deviceType?: string | undefined
  /** Part of the name; upper and lower case are the same, in any script. */
  readonly q?: string | undefined
  readonly limit: number
  /** Id of the last device of the previous page. */
  readonly after?: number | undefined
}

/** A deleted device as answers show it. */
export const deletedDeviceView = ({ id, name, deviceType, timezone, deletedAt }: DeletedDevice) => ({
  id,
  name,
  device_type: deviceType,
  timezone,
  deleted_at: formatMillis(deletedAt),
})

/** Readings may be this much later than the time at which they are written, ms. */
const slackMs = 86_400_000

/** Deleted devices from before this time have no telemetry any more, ms since the epoch. @param retentionMs of telemetry. */
export const forgottenBefore = (now: number, retentionMs: number): number =>
  retentionMs === 0 ? 0 : now - retentionMs - slackMs

export class DeletedDevices {
  readonly #db: RegistryDb

  constructor(db: RegistryDb) {
    this.#db = db
  }

  /** The statement that keeps a device; part of the batch that deletes it, before its row goes. @param now ms since the epoch. */
  keep(id: number, now: number) {
    return this.#db.run(sql`insert into deleted_devices (id, name, name_folded, device_type, timezone, deleted_at)
      select id, name, coalesce(name_folded, lower(name)), device_type, timezone, ${now}
      from ${devices} where id = ${id} on conflict do nothing`)
  }

  async forget(id: number): Promise<void> {
    await this.#db.delete(deletedDevices).where(eq(deletedDevices.id, id))
  }

  async find(id: number): Promise<DeletedDevice | undefined> {
    const [found] = await this.#db.select().from(deletedDevices).where(eq(deletedDevices.id, id))
    return found
  }

  /** In order of their ids, with the number of all that match. */
  async list(query: DeletedDeviceQuery): Promise<{ devices: DeletedDevice[]; total: number }> {
    const { deviceType, q, limit, after = 0 } = query
    const matches = and(
      deviceType === undefined ? undefined : eq(deletedDevices.deviceType, deviceType),
      q === undefined ? undefined : sql`instr(${deletedDevices.nameFolded}, ${foldText(q)}) > 0`,
    )
    const [page, [{ total } = { total: 0 }]] = await this.#db.batch([
      this.#db
        .select()
        .from(deletedDevices)
        .where(and(matches, gt(deletedDevices.id, after)))
        .orderBy(deletedDevices.id)
        .limit(limit),
      this.#db.select({ total: sql<number>`count(*)` }).from(deletedDevices).where(matches),
    ])
    return { devices: page, total }
  }
}
