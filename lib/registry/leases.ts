/** Leases: of all processes on one registry, one at a time does a piece of work. */
import { sql } from 'drizzle-orm'
import type { RegistryDb } from './db.ts'

export interface Leases {
  /** Takes or renews a lease. @returns whether this process holds it for the next `ttlMs` milliseconds. */
  take(name: string, ttlMs: number): Promise<boolean>
  /** Gives the lease up, so that any process may take it at once. */
  release(name: string): Promise<void>
}

/** A lease that ends so much later than a new one was taken by a clock that was ahead, by a process that may be gone, ms. */
const clockSkewMs = 60_000

/**
 * @param holder names this process; no other process on the registry may have the same name.
 * @param now milliseconds since the epoch.
 */
export function createLeases(options: { db: RegistryDb; holder: string; now?: () => number }): Leases {
  const { db, holder, now = Date.now } = options
  return {
    async take(name, ttlMs) {
      const at = now()
      const taken = await db.all(sql`
        insert into leases (name, holder, expires_at) values (${name}, ${holder}, ${at + ttlMs})
        on conflict do update set holder = excluded.holder, expires_at = excluded.expires_at
        where leases.holder = excluded.holder or leases.expires_at <= ${at}
          or leases.expires_at > ${at + ttlMs + clockSkewMs}
        returning holder`)
      return taken.length > 0
    },
    async release(name) {
      await db.run(sql`delete from leases where name = ${name} and holder = ${holder}`)
    },
  }
}
