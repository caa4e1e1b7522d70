/** The outbox of the registry: what has happened to devices and commands, until it is made events for webhooks. */
import { setImmediate as immediate } from 'node:timers/promises'
import { type SQL, sql } from 'drizzle-orm'
import type { RegistryDb } from './db.ts'

/** Deliveries that one transaction may make, so that it holds up a server with a file for a moment only. */
const deliveriesAtOnce = 1000
const fewestRows = 10

/**
 * The statements that make events of rows of the outbox, for one transaction: each row becomes one exactly once, also of several
 * processes. What no enabled webhook asks for is dropped.
 * @param which a condition on the rows; all of them without it.
 */
export const expansionOf = (db: RegistryDb, which: SQL = sql`true`) =>
  [
    db.run(sql`insert into webhook_events (event_id, type, device_id, at, data)
      select event_id, type, device_id, at, data from webhook_outbox_events where ${which} order by seq
      on conflict do nothing`),
    db.run(sql`delete from webhook_outbox where ${which}`),
  ] as const

const oldest = sql`seq <= (select max(seq) from (select seq from webhook_outbox order by seq
  limit (select cast(max(${fewestRows}, ${deliveriesAtOnce} / max(1, count(*))) as integer) from webhooks where enabled = 1)))`

/** Makes events of all that is in the outbox. An empty one costs a look. */
export async function expandOutbox(db: RegistryDb): Promise<void> {
  for (;;) {
    const [row] = await db.all<{ any: number }>(sql`select exists (select 1 from webhook_outbox) as "any"`)
    if (row?.any !== 1) return
    await db.batch(expansionOf(db, oldest))
    // Statements of a file run on this thread.
    await immediate()
  }
}
