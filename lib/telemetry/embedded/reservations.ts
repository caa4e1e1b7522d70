/** Reserves the keys of readings that are about to be stored elsewhere. */
import type { Row } from './connection.ts'
import {
  findConflicts,
  type KeyRow,
  noteRequests,
  type RequestRow,
  ReusedIds,
  reserveKeys,
  tokensOfKeys,
} from './keys.ts'
import type { DatabaseSession } from './session.ts'

export interface Reserved {
  /** The token that each key has now, with its place; none for a reading that an earlier version knows by its id alone. */
  readonly tokens: readonly { readonly place: number; readonly token: string }[]
  /** Places of readings under an id that the device used for another reading. */
  readonly reused: readonly number[]
  /** Places of readings whose request's key belongs to a request with another body. */
  readonly conflicts: readonly number[]
}

const toPlaces = (rows: readonly Row[]) => rows.map(([place]) => Number(place))

export async function reserve(
  session: DatabaseSession,
  keys: readonly KeyRow[],
  requests: readonly RequestRow[],
): Promise<Reserved> {
  let [tokens, conflicts]: (readonly Row[])[] = [[], []]
  const reusedIds = new ReusedIds()
  for (const { device, key, place } of keys) reusedIds.add(device, key, place)
  const noteTokens = (rows: readonly Row[]) => {
    tokens = rows
  }
  const noteConflicts = (rows: readonly Row[]) => {
    conflicts = rows
  }
  await session.write(() => [
    ...(requests.length === 0 ? [] : [noteRequests(requests)]),
    ...(reusedIds.isEmpty
      ? []
      : [{ ...reusedIds.statement(), committed: (rows: readonly Row[]) => reusedIds.found(rows) }]),
    reserveKeys(keys),
    { ...tokensOfKeys(keys), committed: noteTokens },
    ...(requests.length === 0 ? [] : [{ ...findConflicts(keys), committed: noteConflicts }]),
  ])
  return {
    tokens: (tokens ?? []).map(([place, token]) => ({ place: Number(place), token: String(token) })),
    reused: [...reusedIds.reused].map(Number),
    conflicts: toPlaces(conflicts ?? []),
  }
}
