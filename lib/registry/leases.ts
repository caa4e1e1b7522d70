/** Leases: of all processes on one registry, one does a piece of work at a time. */
import { sql } from 'drizzle-orm'
import type { RegistryDb } from './db.ts'

export interface Leases {
  /** Takes the lease, or keeps it. @returns whether this holder has it for the next `ttlMs`. */
  take(name: string, ttlMs: number): Promise<boolean>
  /** Gives it to whoever asks next. */
  release(name: string): Promise<void>
}

/** @param holder unlike every other process. */
export function createLeases(options: { db: RegistryDb; holder: string; now?: () => number }): Leases {
  const { db, holder, now = Date.now } = options
  return {
    async take(name, ttlMs) {
      const at = now()
      const taken = await db.all(sql`
        insert into leases (name, holder, expires_at) values (${name}, ${holder}, ${at + ttlMs})
        on conflict do update set holder = excluded.holder, expires_at = excluded.expires_at
        where leases.holder = excluded.holder or leases.expires_at <= ${at}
        returning holder`)
      return taken.length > 0
    },
    async release(name) {
      await db.run(sql`delete from leases where name = ${name} and holder = ${holder}`)
    },
  }
}
