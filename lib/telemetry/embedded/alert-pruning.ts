/** SQL that forgets alerts, so that neither the time nor one device nor an outbox that nobody empties fills the database. */
import type { Statement } from './connection.ts'
import type { DatabaseSession } from './session.ts'

/** An alert that is over, and of which nobody waits to be told. */
const isDone = `cleared_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM alert_events WHERE alert_id = a.id)`

/** Devices with more alerts than `most`. */
export const crowdedDevices = ({ most }: { most: number }): Statement => ({
  sql: 'SELECT device_id FROM alerts GROUP BY device_id HAVING count(*) > ?',
  args: [most],
})

/** Deletes alerts with their notes. @param which SQL of their ids. @param deleted gets how many they were. */
const forget = (which: string, args: (number | bigint)[], deleted: (count: number) => void) => [
  { sql: `DELETE FROM alert_notes WHERE alert_id IN (${which})`, args },
  {
    sql: `DELETE FROM alerts WHERE id IN (${which}) RETURNING 1`,
    args,
    committed: (rows: readonly unknown[]) => deleted(rows.length),
  },
]

export const alertPruning = {
  /**
   * Forgets some alerts that were cleared before a time, ns, some states of rules that are gone, and some events of the outbox
   * before the newest `events` ones.
   * @returns whether there may be more.
   */
  pruneAlerts: async (
    session: DatabaseSession,
    { before, events, most }: { before: bigint; events: number; most: number },
  ): Promise<boolean> => {
    session.steady.forgetAll()
    let [alerts, states, told] = [0, 0, 0]
    await session.write(() => [
      {
        sql: `DELETE FROM alert_events WHERE seq IN (SELECT seq FROM alert_events
          WHERE seq <= (SELECT max(seq) FROM alert_events) - ? ORDER BY seq LIMIT ?) RETURNING 1`,
        args: [events, most],
        committed: (rows) => {
          told = rows.length
        },
      },
      ...forget(
        `SELECT id FROM alerts AS a WHERE cleared_at < ?1 AND ${isDone} ORDER BY id LIMIT ?2`,
        [before, most],
        (count) => {
          alerts = count
        },
      ),
      {
        sql: `DELETE FROM alert_states WHERE (device_id, rule_id) IN (SELECT device_id, rule_id FROM alert_states
          WHERE rule_id NOT IN (SELECT id FROM alert_rules) LIMIT ?) RETURNING 1`,
        args: [most],
        committed: (rows) => {
          states = rows.length
        },
      },
    ])
    return [alerts, states, told].includes(most)
  },
  /** Forgets some cleared alerts of a device before its newest `kept` ones. @returns whether there may be more. */
  pruneAlertsOf: async (
    session: DatabaseSession,
    { deviceId, kept, most }: { deviceId: number; kept: number; most: number },
  ): Promise<boolean> => {
    let deleted = 0
    await session.write(() =>
      forget(
        `SELECT id FROM alerts AS a WHERE device_id = ?1 AND ${isDone}
          AND id <= (SELECT id FROM alerts WHERE device_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2) ORDER BY id LIMIT ?3`,
        [deviceId, kept, most],
        (count) => {
          deleted = count
        },
      ),
    )
    return deleted === most
  },
}
