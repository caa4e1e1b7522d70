/** SQL of large deletions: what was asked for, and how far it has come. Each slice and its count are one transaction. */
import type { Deletion } from '../deletion.ts'
import type { TimeRange } from '../store.ts'
import type { NoArgs, Row, Statement, Step } from './connection.ts'
import { deleteOldest } from './removal.ts'
import type { RequestTable } from './requests.ts'
import type { DatabaseSession } from './session.ts'

const columns =
  'id, device_id, from_ts, to_ts, first_ts, last_ts, reached_ts, deleted, requested_at, finished_at'

export const toDeletion = (row: Row): Deletion => {
  const [id, deviceId, from, to, first, last, reached, deleted, requestedAt, finishedAt] = row
  return {
    id: Number(id),
    deviceId: Number(deviceId),
    range: { from: from as bigint, to: to as bigint },
    first: first as bigint,
    last: last as bigint,
    reached: reached as bigint,
    deleted: Number(deleted),
    requestedAt: Number(requestedAt),
    finishedAt: finishedAt === null ? null : Number(finishedAt),
  }
}

interface DeviceRange extends TimeRange {
  readonly deviceId: number
}

export interface NewDeletion extends DeviceRange {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** It is not finished before this time, ms since the epoch: until then, writes that have begun may still bring readings. */
  readonly settlesAt: number
}

const inRange = 'device_id = ?1 AND ts >= ?2 AND ts < ?3'
const unfinishedOfRange = `SELECT id FROM deletions WHERE device_id = ?1 AND from_ts = ?2 AND to_ts = ?3 AND finished_at IS NULL`

/** Also before the request, because clocks differ; one that was far ahead when it was noted, and was set back, holds nothing up. */
const isSettling = 'abs(?5 - requested_at) < settles_at - requested_at'

/** Notes a deletion, unless the same one is on its way already. @returns its id. */
export async function createDeletion(
  session: DatabaseSession,
  { deviceId, from, to, at, settlesAt }: NewDeletion,
): Promise<number> {
  session.journal?.foldAllOf(new Set([deviceId]))
  let id = 0
  const note = ([row]: readonly Row[]) => {
    id = Number(row?.[0])
  }
  await session.write(() => [
    {
      sql: `INSERT INTO deletions (device_id, from_ts, to_ts, first_ts, last_ts, reached_ts, requested_at, settles_at)
        SELECT ?1, ?2, ?3, coalesce((SELECT min(ts) FROM readings WHERE ${inRange}), ?2),
          coalesce((SELECT max(ts) FROM readings WHERE ${inRange}), ?2), ?2, ?4, ?5
        WHERE NOT EXISTS (${unfinishedOfRange})`,
      args: [deviceId, from, to, at, settlesAt],
    },
    { sql: unfinishedOfRange, args: [deviceId, from, to], committed: note },
  ])
  return id
}

/**
 * Deletes the next `most` readings, from the oldest reading of the range on: one that came meanwhile goes, too.
 * @returns the deletion afterwards; undefined when there is no such deletion.
 */
export async function advanceDeletion(
  session: DatabaseSession,
  { id, at, most }: { id: number; at: number; most: number },
): Promise<Deletion | undefined> {
  const [before] = await session.execute(deletionQueries.deletion({ id }))
  if (before === undefined) return undefined
  const deletion = toDeletion(before)
  const { deviceId, range, finishedAt } = deletion
  if (finishedAt !== null) return deletion
  session.journal?.foldAllOf(new Set([deviceId]))
  session.newest.forget(deviceId)
  let after = before
  const note = ([row]: readonly Row[]) => {
    after = row ?? before
  }
  const steps: Step[] = [
    ...deleteOldest(deletion, most),
    {
      sql: `UPDATE deletions SET deleted = deleted + changes(),
          reached_ts = coalesce((SELECT min(ts) FROM readings WHERE ${inRange}), ?3),
          finished_at = iif(${isSettling} OR EXISTS (SELECT 1 FROM readings WHERE ${inRange}), NULL, ?5)
        WHERE id = ?4 AND finished_at IS NULL`,
      args: [deviceId, range.from, range.to, id, at],
    },
    { ...deletionQueries.deletion({ id }), committed: note },
  ]
  await session.write(() => steps)
  return toDeletion(after)
}

const pruneDeletions = (before: number): Statement => ({
  sql: 'DELETE FROM deletions WHERE finished_at < ?',
  args: [before],
})

const deletionQueries = {
  deletion: ({ id }: { id: number }): Statement => ({
    sql: `SELECT ${columns} FROM deletions WHERE id = ?`,
    args: [id],
  }),
  /** Newest first. @param before an id: only older ones are listed; null for all. */
  deletions: ({ before, limit }: { before: number | null; limit: number }): Statement => ({
    sql: `SELECT ${columns} FROM deletions WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2`,
    args: [before, limit],
  }),
  unfinishedDeletions: (_args: NoArgs): Statement => ({
    sql: 'SELECT id FROM deletions WHERE finished_at IS NULL ORDER BY id',
  }),
  /** Counts no further than to `most`. */
  countUpTo: ({ deviceId, from, to, most }: DeviceRange & { most: number }): Statement => ({
    sql: `SELECT count(*) FROM (SELECT 1 FROM readings WHERE ${inRange} LIMIT ?4)`,
    args: [deviceId, from, to, most],
  }),
}

/** The requests of deletions that go on in slices. */
export const deletionRequests = {
  queries: deletionQueries,
  changes: {
    createDeletion,
    advanceDeletion,
    pruneDeletions: async (session: DatabaseSession, { before }: { before: number }) => {
      await session.execute(pruneDeletions(before))
    },
  },
} satisfies RequestTable
