/** A connection to the database of the embedded store: of a file, or of a libSQL server. */
import type { Client } from '@libsql/client'
import { AppError } from '../../errors.ts'

/** Values of a row in the order of the selected columns; whole numbers are `bigint`. */
export type Row = readonly unknown[]

export type SqlValue = string | number | bigint | null

/** The arguments of a query that has none. */
export type NoArgs = Readonly<Record<string, never>>

export interface Statement {
  readonly sql: string
  readonly args?: SqlValue[] | Record<string, SqlValue>
}

/** A statement that reads. `convert` makes the answer of its rows, in the thread that reads. */
export interface Query extends Statement {
  readonly convert?: (rows: readonly Row[]) => Row[]
}

/** A statement of a transaction. `committed` gets its rows after the commit. */
export interface Step extends Statement {
  readonly committed?: (rows: readonly Row[]) => void
}

export interface Connection {
  execute(statement: Statement): Promise<Row[]>
  /** Runs statements without arguments. */
  script(sql: string): Promise<void>
  /** Sets up a connection that writes: every commit reaches the disk before it is answered. */
  applyPragmas(): void
  close(): void
}

export interface ServerConnection extends Connection {
  /** Runs statements as one transaction, all or none. @returns the rows of each. */
  transaction(statements: readonly Statement[]): Promise<Row[][]>
}

/** Runs one statement of a transaction. */
export type Run = (statement: Statement) => Row[]

/** Runs the steps of a transaction. @returns what is to be called after the commit. */
export function runSteps(run: Run, steps: readonly Step[]): () => void {
  const results = steps.map((step) => run(step))
  return () => {
    for (const [at, { committed }] of steps.entries()) committed?.(results[at] ?? [])
  }
}

/** File transactions are synchronous: nobody waits between two statements, so later ones may use earlier results. */
export interface FileConnection extends Connection {
  /** @param work gets whether another connection may have changed the file since the last transaction of this one. */
  transaction<T>(work: (run: Run, changedElsewhere: boolean) => T): T
  /**
   * Runs a transaction that does not wait for the disk. Only for work that a power cut may undo as long as it keeps nothing
   * newer: the pages reach the disk with the next transaction, in their order.
   */
  transactionWithoutFsync<T>(work: (run: Run, changedElsewhere: boolean) => T): T
  /**
   * Inserts one row as a transaction of its own: one call instead of four. It does not look whether another connection has
   * changed the file: the next transaction does. @returns the id of the row.
   */
  insert(statement: Statement): bigint
  /** Runs work in a transaction and rolls it back: the file stays as it was. */
  dryRun<T>(work: (run: Run) => T): T
}

export const isFileConnection = (
  connection: ServerConnection | FileConnection,
): connection is FileConnection => 'dryRun' in connection

/** The database of a server, which looks after its own settings. */
export const connectionOf = (client: Client): ServerConnection => ({
  execute: async ({ sql, args = [] }) =>
    (await client.execute({ sql, args })).rows.map((row) => Array.from(row)),
  async transaction(statements) {
    if (statements.length === 0) return []
    const batch = statements.map(({ sql, args = [] }) => ({ sql, args }))
    const results = await client.batch(batch, 'write')
    return results.map(({ rows }) => rows.map((row) => Array.from(row)))
  },
  script: (sql) => client.executeMultiple(sql),
  applyPragmas: () => undefined,
  close: () => client.close(),
})

/** The code of an error of the database: `SQLITE_FULL`, `NETWORK_ECONNREFUSED`. */
export const codeOf = (error: unknown): string => {
  // The client of a server throws an error of ours whose cause has the code.
  const { code } = (error instanceof AppError ? error.cause : error) as { code?: unknown }
  return typeof code === 'string' ? code : 'UNKNOWN'
}

const storeWide =
  /^(SQLITE_(FULL|IOERR|BUSY|LOCKED|READONLY|CANTOPEN|NOMEM|CORRUPT|NOTADB)|NETWORK_|HTTP_(429|502|503|504)|WRITES_WAIT)/

/** Whether the disk, the network or the server failed, and not one message: each message of the group alone would fail as well. */
export const isStoreWideFailure = (code: string): boolean => storeWide.test(code)

/** A fault of the thread or its database, told by its code: `SQLITE_FULL`, `THREAD_ENDED`. */
export class StoreFault extends Error {
  override readonly name = 'StoreFault'
  readonly code: string
  constructor(code: string) {
    super(`telemetry store: ${code}`)
    this.code = code
  }
}

export const isThreadFault = (error: unknown): boolean =>
  error instanceof StoreFault && error.code.startsWith('THREAD_')
