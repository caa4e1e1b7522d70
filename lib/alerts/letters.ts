/** Brings the numbers of new dead letters from the registry to where rules are judged. */
import { setImmediate as turn } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import type { RegistryDb } from '../registry/db.ts'
import type { TimedAlerts } from '../telemetry/embedded/timed-alerts.ts'

/** Letters that one statement reads. */
const lettersAtOnce = 1000

export class DeadLetterCounts {
  readonly #db: RegistryDb
  readonly #alerts: Pick<TimedAlerts, 'countedLetters' | 'countLetters' | 'stopCountingLetters'>

  constructor(
    db: RegistryDb,
    alerts: Pick<TimedAlerts, 'countedLetters' | 'countLetters' | 'stopCountingLetters'>,
  ) {
    this.#db = db
    this.#alerts = alerts
  }

  /** Counts the letters that are new. @param wanted whether a rule asks for them; those until one does are not counted. */
  async count(wanted: boolean): Promise<void> {
    const counted = await this.#alerts.countedLetters()
    if (!wanted) {
      if (counted !== undefined) await this.#alerts.stopCountingLetters()
      return
    }
    const [{ newest } = { newest: 0 }] = await this.#db.all<{ newest: number }>(
      sql`select coalesce(max(id), 0) as newest from dead_letters`,
    )
    if (counted === undefined) {
      await this.#alerts.countLetters(undefined, newest, [])
      return
    }
    for (let from = counted; from < newest; ) {
      const rows = await this.#db.all<{ id: number; device: number | null; at: number }>(
        sql`select id, device_id as device, received_at as at from dead_letters
          where id > ${from} order by id limit ${lettersAtOnce}`,
      )
      const to = rows.at(-1)?.id
      if (to === undefined) break
      const counts = rows.flatMap(({ device, at }) => (device === null ? [] : [{ device, at, count: 1 }]))
      await this.#alerts.countLetters(from, to, counts)
      from = to
      await turn()
    }
  }
}
