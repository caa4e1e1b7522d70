/**
 * The requests that a connection answers, by name: queries, which only read, and changes. To add one, add its function here;
 * its arguments and its result are typed from there on.
 */
import type { TimeRange } from '../store.ts'
import {
  addToAccounts,
  countKeysOfOthers,
  type EncodedAccounts,
  ledgerQueries,
  noteRemovedRange,
} from './accounting.ts'
import type { alertRequests } from './alert-requests.ts'
import { ruleQueries } from './alert-rules-table.ts'
import { judgeSamples, type SampleRow } from './alert-states.ts'
import type { Query, Row } from './connection.ts'
import type { deletionRequests } from './deletion-table.ts'
import { selectAnyWaiting } from './journal.ts'
import { forgetKeys, type KeyRow, noteKeys, type RequestRow } from './keys.ts'
import type { Lines } from './message.ts'
import type { readingRequests } from './reading-requests.ts'
import { deleteRange } from './removal.ts'
import { reserve } from './reservations.ts'
import { type PrunePlace, pruneReadings, pruneSlice } from './retention.ts'
import type { DatabaseSession } from './session.ts'
import { dropRange, type SettledRow, settleSpooled, spoolQueries } from './spool-table.ts'
import { type Target, writeMessages } from './write-messages.ts'

const queries = {
  ...ledgerQueries,
  ...spoolQueries,
  judgingRules: ruleQueries.judgingRules,
}

/** These do not depend on the readings and accounts that may wait in the journal. */
const independentOfJournal: ReadonlySet<QueryName> = new Set([
  'spoolState',
  'oldestSpooled',
  'removedSince',
  'deletion',
  'deletions',
  'unfinishedDeletions',
  'countAlertRules',
  'judgingRules',
  'timedRules',
  'countedLetters',
])

export const dependsOnJournal = (name: QueryName): boolean => !independentOfJournal.has(name)

interface DeviceRange extends TimeRange {
  readonly deviceId: number
}

const changes = {
  write: (session: DatabaseSession, { target, lines }: { target: Target; lines: Lines }) =>
    writeMessages(session, target, lines),
  /** Folds some of the journal, of one device or of all. @returns whether there is more. */
  fold: async (session: DatabaseSession, { deviceId }: { deviceId: number | undefined }) =>
    session.journal?.fold(deviceId === undefined ? undefined : new Set([deviceId])) ?? false,
  count: async (session: DatabaseSession, { accounts }: { accounts: EncodedAccounts }) => {
    await session.execute(addToAccounts(accounts))
  },
  reserveKeys: (
    session: DatabaseSession,
    { keys, requests }: { keys: readonly KeyRow[]; requests: readonly RequestRow[] },
  ) => reserve(session, keys, requests),
  /**
   * Counts a batch that is stored elsewhere, notes its keys and judges its samples.
   * @returns the places of keys that were recorded before.
   */
  record: async (
    session: DatabaseSession,
    {
      accounts,
      keys,
      samples,
    }: { accounts: EncodedAccounts; keys: readonly KeyRow[]; samples: readonly SampleRow[] },
  ) => {
    session.steady.forget(samples.map(({ deviceId }) => deviceId))
    let recordedBefore: number[] = []
    const foundRecorded = (places: number[]) => {
      recordedBefore = places
    }
    await session.write(() => [
      ...(keys.length === 0 ? [] : [noteKeys(JSON.stringify(keys))]),
      addToAccounts(accounts),
      ...(keys.length === 0 ? [] : countKeysOfOthers(keys, foundRecorded)),
      ...judgeSamples(samples),
    ])
    return recordedBefore
  },
  settleSpooled: (session: DatabaseSession, { settled }: { settled: readonly SettledRow[] }) =>
    session.write(() => settleSpooled(settled)),
  dropSpooled: (session: DatabaseSession, { deviceId, from, to }: DeviceRange) =>
    dropRange(session, deviceId, from, to),
  noteRemoved: (session: DatabaseSession, { deviceId, from, to, at }: DeviceRange & { at: number }) =>
    session.write(() => noteRemovedRange(deviceId, { from, to }, at)),
  prune: (session: DatabaseSession, args: { before: bigint } & PrunePlace) => pruneReadings(session, args),
  /** @returns whether there may be more. */
  forgetKeys: async (session: DatabaseSession, { before }: { before: number }) =>
    (await session.execute(forgetKeys(before, pruneSlice))).length === pruneSlice,
  remove: async (session: DatabaseSession, { deviceId, from, to }: DeviceRange) => {
    session.journal?.foldAllOf(new Set([deviceId]))
    session.newest.forget(deviceId)
    await session.write(() => deleteRange(deviceId, { from, to }))
  },
  /** @param write writes a little, as durably as readings are written. */
  check: async (session: DatabaseSession, { write }: { write: boolean }) => {
    await session.execute({ sql: write ? 'UPDATE spool_size SET bytes = bytes' : 'SELECT 1' })
  },
  /** Sets the mark by which a start notices that the file lost changes; only on a file. @param mark a whole number. */
  mark: async (session: DatabaseSession, { mark }: { mark: number }) => {
    await session.execute({ sql: `PRAGMA user_version = ${Math.trunc(mark)}` })
  },
  close: async (session: DatabaseSession, _args: object) => session.connection.close(),
}

/** The functions that answer requests, by their names. */
export interface RequestTable {
  readonly queries: Readonly<Record<string, (args: never) => Query>>
  readonly changes: Readonly<Record<string, (session: DatabaseSession, args: never) => Promise<unknown>>>
}

/** The requests that every process may make. On a server, others are known after `EmbeddedDatabase.learn` only. */
export const commonRequests = { queries, changes } satisfies RequestTable

type Queries = typeof queries &
  (typeof readingRequests)['queries'] &
  (typeof alertRequests)['queries'] &
  (typeof deletionRequests)['queries']
export type QueryName = keyof Queries
export type QueryArgs<Name extends QueryName> = Queries[Name] extends (args: infer Args) => Query
  ? Args
  : never

type Changes = typeof changes & (typeof alertRequests)['changes'] & (typeof deletionRequests)['changes']
export type ChangeName = keyof Changes
export type ChangeArgs<Name extends ChangeName> = Parameters<Changes[Name]>[1]
export type ChangeResult<Name extends ChangeName> = Awaited<ReturnType<Changes[Name]>>

/** How a query treats messages in the journal: reports that some wait, folds them in a dry run, or ignores them. */
export type JournalMode = 'report' | 'fold'

export type QueryRequest = {
  [Name in QueryName]: {
    readonly query: Name
    readonly args: QueryArgs<Name>
    readonly journal?: JournalMode | undefined
  }
}[QueryName]

export type ChangeRequest = {
  [Name in ChangeName]: { readonly change: Name; readonly args: ChangeArgs<Name> }
}[ChangeName]

/** Asks for small messages without keys to be made durable in the journal; only a file has one. */
export interface AppendRequest {
  readonly append: Lines
}

/** Writes messages: into the journal, or into the tables. */
export type WriteRequest = AppendRequest | Extract<ChangeRequest, { change: 'write' }>

export type StoreRequest = QueryRequest | ChangeRequest | AppendRequest

/** Answers requests, one after the other on a file and side by side on a server. */
export interface RequestPort {
  /** @throws {StoreFault} */
  ask(request: StoreRequest): Promise<unknown>
  /** Adds requests; undefined where a thread answers them, which knows all. */
  readonly learn: ((requests: RequestTable) => void) | undefined
  /** Resolves when the thread is gone; on a server at once. */
  readonly ended: Promise<void>
}

/** The answer to a query in mode `report` while messages wait in the journal. */
export const messagesWait = 'messages wait'

const isAnythingWaiting = async (session: DatabaseSession): Promise<boolean> => {
  try {
    return (await session.execute(selectAnyWaiting)).length > 0
  } catch (error) {
    // A file that is only read may come from a version without a journal.
    if (/no such table/.test(String(error))) return false
    throw error
  }
}

const answerQuery = async (
  session: DatabaseSession,
  { args, journal }: QueryRequest,
  queryOf: (args: never) => Query,
) => {
  const statement = queryOf(args as never)
  const { convert = (rows: Row[]) => rows } = statement
  const { file } = session
  if (file === undefined || journal === undefined || !(await isAnythingWaiting(session)))
    return convert(await session.execute(statement))
  if (journal === 'report') return messagesWait
  const rows = file.dryRun((run) => {
    session.journal?.foldInDryRun(run, args && 'deviceId' in args ? args.deviceId : undefined)
    return run(statement)
  })
  return convert(rows)
}

/** Answers a query or makes a change. @param tables the requests that are known. @throws the errors of the database. */
export async function answer(
  session: DatabaseSession,
  request: QueryRequest | ChangeRequest,
  tables: readonly RequestTable[],
): Promise<unknown> {
  for (const { queries, changes } of tables) {
    if ('query' in request) {
      const query = queries[request.query]
      if (query !== undefined) return answerQuery(session, request, query)
    } else {
      const change = changes[request.change]
      if (change !== undefined) return change(session, request.args as never)
    }
  }
  throw new Error(`unknown request: ${'query' in request ? request.query : request.change}`)
}
