/** Orders of the list of devices, and the cursors of its pages. */
import { type SQL, sql } from 'drizzle-orm'
import * as z from 'zod'
import { devices } from '../registry/schema.ts'

/** What the list may be sorted by; devices that are equal there stand in the order of their ids. */
export const deviceSorts = ['id', 'name', 'device_type', 'status', 'location', 'last_seen'] as const
export type DeviceSort = (typeof deviceSorts)[number]

/** A place in the list: that of a device whose sort key was `key`. The order by ids needs no key. */
export interface Place {
  readonly id: number
  readonly key?: string | number | undefined
}

interface SortKey {
  readonly sql: SQL
  readonly type: 'string' | 'number'
}

// Sorting 100,000 devices by any of these takes 13–21 ms without an index. An index on last-seen times would have to
// follow every message; the others would save little.
const keys: Record<Exclude<DeviceSort, 'id'>, SortKey> = {
  name: { sql: sql`coalesce(${devices.nameFolded}, lower(${devices.name}))`, type: 'string' },
  device_type: { sql: sql`${devices.deviceType}`, type: 'string' },
  status: { sql: sql`${devices.status}`, type: 'string' },
  location: {
    sql: sql`coalesce(${devices.locationFolded}, lower(${devices.location}), '')`,
    type: 'string',
  },
  last_seen: { sql: sql`coalesce(${devices.lastSeenAt}, 0)`, type: 'number' },
}

/** The parts of a statement that sort devices and continue after a page. */
export interface DeviceOrder {
  /** The value that a cursor must hold. */
  readonly key: SQL<string | number | null>
  readonly orderBy: SQL
  /** The condition of the devices behind a place; undefined where the place is not one of this order. */
  after(place: Place): SQL | undefined
}

export function deviceOrder(sort: DeviceSort, descending: boolean): DeviceOrder {
  const direction = sql.raw(descending ? 'desc' : 'asc')
  const behind = sql.raw(descending ? '<' : '>')
  if (sort === 'id')
    return {
      key: sql`null`,
      orderBy: sql`${devices.id} ${direction}`,
      after: ({ id, key }) => (key === undefined ? sql`${devices.id} ${behind} ${id}` : undefined),
    }
  const { sql: key, type } = keys[sort]
  return {
    key: sql`${key}`,
    orderBy: sql`${key} ${direction}, ${devices.id} ${direction}`,
    after: (place) =>
      typeof place.key === type
        ? sql`(${key}, ${devices.id}) ${behind} (${place.key}, ${place.id})`
        : undefined,
  }
}

const WrittenPlace = z.tuple([z.union([z.string(), z.number()]), z.int().min(0)])

/** The cursor of a page that continues after the place: the id alone, or with the key, which may have changed by then. */
export const cursorOf = ({ id, key }: Place): string =>
  key === undefined ? String(id) : Buffer.from(JSON.stringify([key, id])).toString('base64url')

/** @returns undefined for a text that is no cursor. */
export function parseCursor(text: string): Place | undefined {
  if (/^\d{1,15}$/.test(text)) return { id: Number(text) }
  try {
    const [key, id] = WrittenPlace.parse(JSON.parse(Buffer.from(text, 'base64url').toString()))
    return { id, key }
  } catch {
    return undefined
  }
}
