/** SQL that deletes what is too old, slice by slice: writes come in between. */
import type { Row, Step } from './connection.ts'
import { lastOfSlice, nextDevices } from './readings.ts'
import type { DatabaseSession } from './session.ts'

/** Rows of one slice. */
export const pruneSlice = 5000

/** Where a round of deletions goes on. */
export interface PrunePlace {
  /** The readings of all devices up to this id are pruned. */
  readonly after: number
}

/**
 * Deletes some readings that are older than this time, ns since the epoch, of the next devices behind `after`.
 * @returns where to go on; undefined when the round is over.
 */
export async function pruneReadings(
  session: DatabaseSession,
  { before, after }: { before: bigint } & PrunePlace,
): Promise<PrunePlace | undefined> {
  let [deleted, last]: [number, number | undefined] = [0, undefined]
  const noteLast = ([row]: readonly Row[]) => {
    const id = row?.[0] ?? undefined
    last = id === undefined ? undefined : Number(id)
  }
  const noteDeleted = ([row]: readonly Row[]) => {
    deleted = Number(row?.[0])
  }
  const lastDevice = `${nextDevices} SELECT ${lastOfSlice} FROM device WHERE id IS NOT NULL`
  // The readings come last: without them, the same devices would not be the next ones.
  const steps: Step[] = [
    { sql: lastDevice, args: [after], committed: noteLast },
    {
      sql: `DELETE FROM latest WHERE ts < ?2 AND device_id > ?1 AND device_id <= coalesce((${lastDevice}), device_id)`,
      args: [after, before],
    },
    {
      sql: `DELETE FROM readings WHERE (device_id, ts) IN (${nextDevices} SELECT device_id, ts FROM device
        CROSS JOIN readings ON device_id = id AND ts < ?2 LIMIT ${pruneSlice})`,
      args: [after, before],
    },
    { sql: 'SELECT changes()', committed: noteDeleted },
  ]
  await session.write(() => steps)
  // The newest reading of a device may be among them.
  if (deleted > 0) session.newest.forgetAll()
  if (deleted === pruneSlice) return { after }
  return last === undefined ? undefined : { after: last }
}
