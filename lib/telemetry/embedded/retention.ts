/** SQL that deletes what is too old, slice by slice: writes come in between. */
import { eachDevice } from './readings.ts'
import type { DatabaseSession } from './session.ts'

/** Rows of one slice. */
export const pruneSlice = 5000

/**
 * Deletes some readings that are older than this time, ns since the epoch.
 * @returns whether there may be more.
 */
export async function pruneReadings(session: DatabaseSession, before: bigint): Promise<boolean> {
  session.newest.forgetAll()
  const [oldDevice] = await session.execute({
    sql: `${eachDevice} SELECT id FROM device WHERE id IS NOT NULL
      AND (SELECT min(ts) FROM readings WHERE device_id = id) < ? LIMIT 1`,
    args: [before],
  })
  if (oldDevice === undefined) {
    await session.execute({ sql: 'DELETE FROM latest WHERE ts < ?', args: [before] })
    return false
  }
  await session.execute({
    sql: `DELETE FROM readings WHERE device_id = ?1 AND ts IN
      (SELECT ts FROM readings WHERE device_id = ?1 AND ts < ?2 ORDER BY ts LIMIT ${pruneSlice})`,
    args: [oldDevice[0] as bigint, before],
  })
  return true
}
