/** The database of the embedded store, ledger and spool: a file with one thread that writes and two that read, or a server. */
import type { Freshness } from '../store.ts'
import { unavailable } from '../unavailable.ts'
import type { aggregateQueries } from './aggregate.ts'
import type { Row } from './connection.ts'
import { QueryQueue } from './query-queue.ts'
import {
  dependsOnJournal,
  messagesWait,
  type QueryArgs,
  type QueryName,
  type QueryRequest,
  type RequestTable,
} from './requests.ts'
import { connect, type DatabaseOptions, EmbeddedWriter } from './writer.ts'

/** Names alone, so that a bundle of the cloud that reads nothing holds no aggregation. */
const aggregations = { aggregate: true, fields: true, newestValues: true } satisfies Record<
  keyof typeof aggregateQueries,
  true
>

export class EmbeddedDatabase {
  readonly writer: EmbeddedWriter
  readonly #options: DatabaseOptions
  /** Undefined on a server, where queries run side by side on the connection of the writer. */
  readonly #readers: { readonly queries: QueryQueue; readonly aggregations: QueryQueue } | undefined
  #queries = 0
  #closed = false

  private constructor(options: DatabaseOptions, writer: EmbeddedWriter) {
    this.#options = options
    this.writer = writer
    if (!writer.isFile) return
    // Aggregations have a thread of their own: other queries do not wait behind them.
    const start = () => connect(options)
    this.#readers = { queries: new QueryQueue(start), aggregations: new QueryQueue(start) }
  }

  /** @throws {StoreFault} when the file cannot be opened. */
  static async open(options: DatabaseOptions): Promise<EmbeddedDatabase> {
    // The writer makes the tables that the readers need.
    return new EmbeddedDatabase(options, await EmbeddedWriter.open(options))
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Called before the first of these requests, so that a bundle of the cloud holds no others. */
  learn(requests: RequestTable): void {
    this.writer.learn(requests)
  }

  /** @throws {AppError} UNAVAILABLE when the query fails, too many wait, or the database is closed. */
  async query<Name extends QueryName>(
    query: Name,
    args: QueryArgs<Name>,
    { mayLag = false }: Freshness = {},
  ): Promise<readonly Row[]> {
    const { maxQueries = 200, log } = this.#options
    if (this.#queries >= maxQueries || this.#closed) throw unavailable()
    this.#queries += 1
    const reader = this.#readers?.[query in aggregations ? 'aggregations' : 'queries'] ?? this.writer
    try {
      const request = { query, args } as QueryRequest
      return (await (mayLag ? reader.ask(request) : this.#askUpToDate(reader, request))) as Row[]
    } catch (error) {
      if (!this.#closed) log.error('a telemetry query failed', { error, query })
      throw unavailable(error)
    } finally {
      this.#queries -= 1
    }
  }

  /**
   * Starts the thread of queries when there is none, and the one of aggregations when its last start failed. Waits for no query.
   * @throws {AppError} UNAVAILABLE when a thread cannot start.
   */
  async checkQueries(): Promise<void> {
    try {
      await this.#readers?.queries.start()
      if (this.#readers?.aggregations.couldNotStart) await this.#readers.aggregations.start()
    } catch (error) {
      throw unavailable(error)
    }
  }

  /** Answers the query that runs, refuses those that wait, folds the journal, and ends the threads. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await Promise.all([this.#readers?.queries.close(), this.#readers?.aggregations.close()])
    await this.writer.close()
  }

  /** Folds waiting messages first; where that fails, as on a full disk, in a dry run for this query only. */
  async #askUpToDate(reader: QueryQueue | EmbeddedWriter, request: QueryRequest): Promise<unknown> {
    if (!this.writer.isFile || !dependsOnJournal(request.query)) return reader.ask(request)
    if (this.writer.folding !== undefined) {
      const answer = await reader.ask({ ...request, journal: 'report' })
      if (answer !== messagesWait) return answer
      const { args } = request
      const deviceId = args && 'deviceId' in args ? args.deviceId : undefined
      const folded = await this.writer.folding.fold(deviceId).then(
        () => true,
        () => false,
      )
      if (folded) return reader.ask(request)
    }
    return reader.ask({ ...request, journal: 'fold' })
  }
}
