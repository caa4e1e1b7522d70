/**
 * The requests that a connection answers, by name: queries, which only read, and changes. To add one, add its function here;
 * its arguments and its result are typed from there on.
 */
import type { AccountChange } from '../account.ts'
import type { TimeRange } from '../store.ts'
import { addToAccounts, countKeysOfOthers, ledgerQueries, noteRemovedRange } from './accounting.ts'
import { aggregateQueries } from './aggregate.ts'
import type { Query, Row } from './connection.ts'
import {
  advanceDeletion,
  createDeletion,
  deletionQueries,
  type NewDeletion,
  pruneDeletions,
} from './deletion-table.ts'
import { selectAnyWaiting } from './journal.ts'
import { forgetKeys, type KeyRow, noteKeys, type RequestRow } from './keys.ts'
import { latestQueries } from './latest.ts'
import type { Lines } from './message.ts'
import { readingQueries } from './readings.ts'
import { deleteRange } from './removal.ts'
import { reserve } from './reservations.ts'
import { type PrunePlace, pruneReadings, pruneSlice } from './retention.ts'
import type { DatabaseSession } from './session.ts'
import { dropRange, type SettledRow, settleSpooled, spoolQueries } from './spool-table.ts'
import { type Target, writeMessages } from './write-messages.ts'

const queries = {
  ...readingQueries,
  ...latestQueries,
  ...aggregateQueries,
  ...ledgerQueries,
  ...spoolQueries,
  ...deletionQueries,
}

/** These do not depend on the readings and accounts that may wait in the journal. */
const independentOfJournal: ReadonlySet<QueryName> = new Set([
  'spoolState',
  'oldestSpooled',
  'removedSince',
  'deletion',
  'deletions',
  'unfinishedDeletions',
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
  count: async (session: DatabaseSession, { changes }: { changes: readonly AccountChange[] }) => {
    await session.execute(addToAccounts(changes))
  },
  reserveKeys: (
    session: DatabaseSession,
    { keys, requests }: { keys: readonly KeyRow[]; requests: readonly RequestRow[] },
  ) => reserve(session, keys, requests),
  /** Counts a batch that is stored elsewhere and notes its keys. @returns the places of keys that were recorded before. */
  record: async (
    session: DatabaseSession,
    { accounts, keys }: { accounts: readonly AccountChange[]; keys: readonly KeyRow[] },
  ) => {
    let recordedBefore: number[] = []
    const foundRecorded = (places: number[]) => {
      recordedBefore = places
    }
    await session.write(() => [
      ...(keys.length === 0 ? [] : [noteKeys(JSON.stringify(keys))]),
      addToAccounts(accounts),
      ...(keys.length === 0 ? [] : countKeysOfOthers(keys, foundRecorded)),
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
  createDeletion: (session: DatabaseSession, args: NewDeletion) => createDeletion(session, args),
  advanceDeletion: (session: DatabaseSession, args: { id: number; at: number; most: number }) =>
    advanceDeletion(session, args),
  pruneDeletions: async (session: DatabaseSession, { before }: { before: number }) => {
    await session.execute(pruneDeletions(before))
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

type Queries = typeof queries
export type QueryName = keyof Queries
export type QueryArgs<Name extends QueryName> = Queries[Name] extends (args: infer Args) => Query
  ? Args
  : never

type Changes = typeof changes
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

const answerQuery = async (session: DatabaseSession, { query, args, journal }: QueryRequest) => {
  const statement = (queries[query] as (args: unknown) => Query)(args)
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

/** Answers a query or makes a change. @throws the errors of the database. */
export function answer(session: DatabaseSession, request: QueryRequest | ChangeRequest): Promise<unknown> {
  if ('query' in request) return answerQuery(session, request)
  const change = changes[request.change] as (session: DatabaseSession, args: unknown) => Promise<unknown>
  return change(session, request.args)
}
