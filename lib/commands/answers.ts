/** Answers of devices, written in batches: one transaction for all that arrive while the one before is written. */
import { type SQL, sql } from 'drizzle-orm'
import { GroupCommit } from '../group-commit.ts'
import type { RegistryDb } from '../registry/db.ts'
import { type Answer, maxResultBytes } from './command.ts'

/** `unknown`: the device has no such command. `ignored`: late, double or out of order. */
export type AnswerOutcome = 'applied' | 'ignored' | 'unknown'

/** Answers of one transaction. */
const maxGroup = 200
/** Answers that may wait, each with a result of up to 1 MiB; the devices send those again that are refused. */
const maxWaiting = 1000

/** The result as it is stored: one that is too large is left out, and its size is told. */
const resultText = (result: unknown): string | null => {
  if (result === undefined) return null
  const text = JSON.stringify(result)
  const bytes = Buffer.byteLength(text)
  return bytes <= maxResultBytes
    ? text
    : JSON.stringify({ left_out: `${bytes} bytes, at most ${maxResultBytes} are kept` })
}

/** States only go forward: an answer to a command that has ended, or has got this far, changes nothing. */
const statementOf = ({ deviceId, commandId, status, result, at }: Answer): SQL => {
  const isFinal = status !== 'acknowledged'
  return sql`update commands set status = ${status}, sent_at = coalesce(sent_at, ${at}),
      acknowledged_at = ${isFinal ? sql`acknowledged_at` : at}, finished_at = ${isFinal ? at : null},
      result = coalesce(${resultText(result)}, result), busy_until = null, retry_at = null
    where command_id = ${commandId} and device_id = ${deviceId} and finished_at is null and expires_at > ${at}
      and ${isFinal ? sql`true` : sql`status <> 'acknowledged'`}`
}

export class Answers {
  readonly #db: RegistryDb
  readonly #group: GroupCommit<Answer, AnswerOutcome>

  constructor(db: RegistryDb) {
    this.#db = db
    this.#group = new GroupCommit({ write: (answers) => this.#write(answers), maxGroup, maxWaiting })
  }

  /** @throws {AppError} UNAVAILABLE when it could not be written, or too many wait. */
  record(answer: Answer): Promise<AnswerOutcome> {
    return this.#group.add(answer)
  }

  /** Resolves when all answers so far are written. */
  settled(): Promise<void> {
    return this.#group.settled()
  }

  async #write(answers: readonly Answer[]): Promise<AnswerOutcome[]> {
    const [first, ...others] = answers.map((answer) => this.#db.run(statementOf(answer)))
    if (first === undefined) return []
    const results = await this.#db.batch([first, ...others])
    const unchanged = answers.filter((_, index) => results[index]?.rowsAffected === 0)
    const known = unchanged.length === 0 ? new Set() : await this.#known(unchanged)
    return answers.map((answer, index) => {
      if (results[index]?.rowsAffected !== 0) return 'applied'
      return known.has(`${answer.deviceId} ${answer.commandId}`) ? 'ignored' : 'unknown'
    })
  }

  /** Those of the answers that name a command of their device. */
  async #known(answers: readonly Answer[]): Promise<Set<unknown>> {
    const ids = JSON.stringify(answers.map(({ commandId }) => commandId))
    const rows = await this.#db.all<{
      name: string
    }>(sql`select device_id || ' ' || command_id as name from commands
      where command_id in (select value from json_each(${ids}))`)
    return new Set(rows.map(({ name }) => name))
  }
}
