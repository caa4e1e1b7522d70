/** Keeps what this process knows about the database behind one connection, and runs its transactions. */
import {
  type Connection,
  type FileConnection,
  isFileConnection,
  type Row,
  runSteps,
  type ServerConnection,
  type Statement,
  type Step,
} from './connection.ts'
import { Journal } from './journal.ts'
import { NewestReadings } from './latest.ts'
import { SteadyStates } from './steady-states.ts'
import { messageSteps } from './write-messages.ts'

export class DatabaseSession {
  readonly connection: Connection
  /** Undefined on a server. */
  readonly file: FileConnection | undefined
  /** Undefined on a server. */
  readonly journal: Journal | undefined
  readonly newest = new NewestReadings()
  readonly steady = new SteadyStates()
  readonly #server: ServerConnection | undefined

  constructor(connection: ServerConnection | FileConnection) {
    this.connection = connection
    if (isFileConnection(connection)) {
      this.file = connection
      this.journal = new Journal(this, connection, messageSteps)
    } else this.#server = connection
  }

  execute(statement: Statement): Promise<Row[]> {
    return this.connection.execute(statement)
  }

  /**
   * Runs the steps as one transaction, all or none.
   * @param make gets whether others may have changed the database since the last write: always so on a server.
   */
  async write(make: (changedElsewhere: boolean) => readonly Step[]): Promise<void> {
    if (this.#server !== undefined) {
      const steps = make(true)
      const results = await this.#server.transaction(steps)
      for (const [at, { committed }] of steps.entries()) committed?.(results[at] ?? [])
      return
    }
    const committed = this.file?.transaction((run, changedElsewhere) =>
      runSteps(run, make(this.noticeChange(changedElsewhere))),
    )
    committed?.()
  }

  /** Forgets the knowledge that another connection may have made wrong. @returns its argument. */
  noticeChange(changedElsewhere: boolean): boolean {
    if (changedElsewhere) {
      this.newest.forgetAll()
      this.steady.forgetAll()
      this.journal?.forget()
    }
    return changedElsewhere
  }
}
