/** The fleet as alerts see it: read from the registry in slices, so that requests come in between. */
import { type SQL, sql } from 'drizzle-orm'
import { isOnlineSql } from '../devices/device-rows.ts'
import type { RegistryDb } from '../registry/db.ts'

/** A device as rules that are about time judge it. */
export interface JudgedDevice {
  readonly id: number
  readonly deviceType: string
  readonly status: 'active' | 'inactive' | 'maintenance'
  readonly labels: Readonly<Record<string, string>>
  /** Milliseconds since the epoch, as all times here. */
  readonly createdAt: number
  /** Since when it is offline; undefined while it is online, and when it was never online. */
  readonly offlineSince: number | undefined
}

export interface FleetOptions {
  readonly db: RegistryDb
  /** Seconds; for devices without a value of their own. */
  readonly offlineAfterS: number
  /** Time that a device may be silent for longer than its limit, ms: other processes write last-seen times a little later. */
  readonly patienceMs: number
}

/** Devices of one look: about 2 ms on a file, during which requests wait. */
export const devicesPerSlice = 250

/** Ids of one block: a change of one device makes all of its block be looked at. */
export const idsPerBlock = 256
/** Blocks that are read at once: about 2 ms on a file. */
const blocksAtOnce = 16

/** What is wanted of a block, beside whether it is as before. */
export interface BlockWanted {
  /** Whether the devices that are offline are wanted. */
  readonly offline: boolean
  /** Devices that were made within these times are wanted. */
  readonly madeIn: readonly Span[]
}

/** Ms since the epoch: after `from`, until `to`. */
export interface Span {
  readonly from: number
  readonly to: number
}

/** What one look tells of the devices of one block. */
export interface FleetBlock {
  /** Its first id: a multiple of {@link idsPerBlock}. */
  readonly first: number
  /** Another one when a device came, went, or was changed otherwise than by its messages. */
  readonly print: string
  /** Ids, separated by commas. */
  readonly offline: string
  readonly made: string
}

/** SQL for a time that lies in one of the spans. The bounds of all come first: most rows need no more. */
export const isWithin = (time: SQL, spans: readonly Span[]): SQL =>
  spans.length === 0
    ? sql`0`
    : sql`(${time} > ${Math.min(...spans.map(({ from }) => from))} and ${time} <= ${Math.max(...spans.map(({ to }) => to))}
      and (${sql.join(
        spans.map(({ from, to }) => sql`${time} > ${from} and ${time} <= ${to}`),
        sql` or `,
      )}))`

interface DeviceRow {
  readonly id: number
  readonly deviceType: string
  readonly status: JudgedDevice['status']
  readonly labels: string | null
  readonly createdAt: number
  readonly offlineSince: number | null
}

export class Fleet {
  readonly #options: FleetOptions

  constructor(options: FleetOptions) {
    this.#options = options
  }

  /** The next devices in the order of their ids. @param now milliseconds since the epoch. */
  after(id: number, now: number): Promise<JudgedDevice[]> {
    return this.#read(sql`devices.id > ${id} order by devices.id limit ${devicesPerSlice}`, now)
  }

  /** Those of these devices that exist. @param ids at most {@link devicesPerSlice}. */
  these(ids: readonly number[], now: number): Promise<JudgedDevice[]> {
    return this.#read(sql`devices.id in (select value from json_each(${JSON.stringify(ids)}))`, now)
  }

  /**
   * Those of the next blocks behind an id in which there are devices; none when there is no device behind it.
   * @param now milliseconds since the epoch.
   */
  async blocks(after: number, now: number, { offline, madeIn }: BlockWanted): Promise<FleetBlock[]> {
    const { db, offlineAfterS, patienceMs } = this.#options
    const wasThere = sql`coalesce(devices.last_seen_at, devices.offline_at) is not null`
    const isOffline = sql`${wasThere} and not ${isOnlineSql(now - patienceMs, offlineAfterS)}`
    const idsOf = (condition: SQL) => sql`coalesce(group_concat(iif(${condition}, devices.id, null)), '')`
    // Numbers stand in the text: as an argument one may have a fraction, and so would the quotient.
    const size = sql.raw(String(idsPerBlock))
    const all = sql.raw(String(idsPerBlock * blocksAtOnce))
    const rows = await db.all<{ first: number; facts: string }>(sql`
      with recursive
        begin(id) as (select min(id) / ${size} * ${size} from devices where id > ${after}),
        block(first) as (select id from begin where id is not null
          union all select first + ${size} from block where first + ${size} < (select id from begin) + ${all})
      select first, (select json_array(count(*) || ' ' || coalesce(sum(devices.updated_at), 0),
          ${offline ? idsOf(isOffline) : sql`''`},
          ${madeIn.length > 0 ? idsOf(isWithin(sql`devices.created_at`, madeIn)) : sql`''`})
        from devices where devices.id >= block.first and devices.id < block.first + ${size}) as facts
      from block`)
    const blocks = rows.map(({ first, facts }): FleetBlock => {
      const [print, offlineIds, made] = JSON.parse(facts) as [string, string, string]
      return { first, print, offline: offlineIds, made }
    })
    return blocks.filter(({ print }) => print !== '0 0')
  }

  async #read(which: SQL, now: number): Promise<JudgedDevice[]> {
    const { db, offlineAfterS, patienceMs } = this.#options
    // Silence ends at the device's limit; a message or an event of the broker says itself when it went offline.
    const silentSince = sql`devices.last_seen_at + coalesce(devices.offline_after_s, ${offlineAfterS}) * 1000`
    const rows = await db.all<DeviceRow>(sql`
      select devices.id, devices.device_type as deviceType, devices.status, devices.labels,
        devices.created_at as createdAt,
        iif(${isOnlineSql(now - patienceMs, offlineAfterS)}, null, cast(max(
          iif(coalesce(devices.last_seen_at, 0) > coalesce(devices.offline_at, 0), ${silentSince}, 0),
          coalesce(devices.offline_at, 0)) as integer)) as offlineSince
      from devices where ${which}`)
    return rows.map(({ labels, offlineSince, ...row }) => ({
      ...row,
      labels: labels === null ? {} : (JSON.parse(labels) as Record<string, string>),
      offlineSince: offlineSince || undefined,
    }))
  }
}
