import { createClient } from '@libsql/client'

/** Writes the record of a deletion of this device's telemetry, which has ended. @returns its id. */
export async function addFinishedDeletion(dataDir: string, deviceId: number): Promise<number> {
  const client = createClient({ url: `file:${dataDir}/telemetry.db`, timeout: 60_000 })
  try {
    const { lastInsertRowid } = await client.execute({
      sql: `INSERT INTO deletions
              (device_id, from_ts, to_ts, first_ts, last_ts, reached_ts, requested_at, settles_at, finished_at)
            VALUES (?, 1, 2, 1, 2, 2, ?, 1, 1)`,
      args: [deviceId, Date.now()],
    })
    return Number(lastInsertRowid)
  } finally {
    client.close()
  }
}
