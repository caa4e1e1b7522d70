/**
 * The journal of the embedded store's file. A group of small messages is durable as one row of it: to write the readings of
 * each device where they belong costs a page for every one of them. They are folded into the tables some time later, when
 * each device has several, and before anything that must know of them.
 */
import { deviceOf, type Message, messageOf } from './embedded-message.ts'
import type { Plan, Run, Transactions } from './embedded-sql.ts'

/**
 * `folded`: of a device everything up to this row of the journal is in the tables already. No row of it is newer than the
 * newest of the journal, so that ids of the journal may come again when it is empty.
 */
export const journalSchema = `
  CREATE TABLE IF NOT EXISTS journal (seq INTEGER PRIMARY KEY, lines TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS folded (device_id INTEGER PRIMARY KEY, seq INTEGER NOT NULL);`

/** Characters of a message that is worth the detour: what a larger one costs is its readings anyway. */
export const maxJournaled = 2000

/** Messages that are folded at once, so that what is to be written waits for milliseconds only; more when many wait. */
const slice = 128
const sliceShare = 128

interface Entry {
  readonly seq: bigint
  readonly line: string
}

/** What waits in the journal. */
interface Waiting {
  /** Of each device, in the order of arrival. */
  readonly devices: Map<number, Entry[]>
  count: number
  lastSeq: bigint
}

interface Taken {
  readonly deviceId: number
  readonly entries: readonly Entry[]
  readonly rest: Entry[]
}

const addLine = (waiting: Waiting, seq: bigint, line: string) => {
  const deviceId = deviceOf(line)
  const entries = waiting.devices.get(deviceId)
  if (entries === undefined) waiting.devices.set(deviceId, [{ seq, line }])
  else entries.push({ seq, line })
  waiting.count += 1
}

const read = (run: Run): Waiting => {
  const folded = new Map(
    run({ sql: 'SELECT device_id, seq FROM folded' }).map(([device, seq]) => [Number(device), seq as bigint]),
  )
  const waiting: Waiting = { devices: new Map(), count: 0, lastSeq: 0n }
  for (const [seq, lines] of run({ sql: 'SELECT seq, lines FROM journal ORDER BY seq' }) as [
    bigint,
    string,
  ][]) {
    for (const line of lines.split('\n'))
      if (seq > (folded.get(deviceOf(line)) ?? 0n)) addLine(waiting, seq, line)
    waiting.lastSeq = seq
  }
  return waiting
}

/** The oldest messages of a device, and all that came with the last of them. */
const take = ({ devices }: Waiting, deviceId: number, most: number): Taken => {
  const entries = devices.get(deviceId) ?? []
  let end = Math.min(most, entries.length)
  while (end > 0 && entries[end]?.seq === entries[end - 1]?.seq) end += 1
  return { deviceId, entries: entries.slice(0, end), rest: entries.slice(end) }
}

const everything = (waiting: Waiting) =>
  [...waiting.devices.keys()].map((deviceId) => take(waiting, deviceId, Number.POSITIVE_INFINITY))

const messagesOf = (taken: readonly Taken[]): Message[] =>
  taken.flatMap(({ entries }) => entries.map(({ line }) => messageOf(line)))

/** Whether something waits, of whatever device and process. */
export const isWaiting = { sql: 'SELECT 1 FROM journal LIMIT 1' }

const noteFolded = `
  INSERT INTO folded (device_id, seq) SELECT value ->> 0, value ->> 1 FROM json_each(?) WHERE true
  ON CONFLICT DO UPDATE SET seq = excluded.seq`

/** Folds what waits, of one device or of all, in a transaction that is not committed. */
export function foldForNow(run: Run, plan: Plan, deviceId: number | undefined): void {
  const waiting = read(run)
  const taken =
    deviceId === undefined ? everything(waiting) : [take(waiting, deviceId, Number.POSITIVE_INFINITY)]
  plan(messagesOf(taken), true).statements.forEach(run)
}

export interface Journal {
  /** Makes messages durable, of which each is a line. */
  append(text: string): void
  /**
   * Folds some of what waits: of these devices, or in rounds, each of what waited when it began.
   * @returns whether more of it is to be folded.
   */
  fold(deviceIds?: ReadonlySet<number>): boolean
  /** Others have written to the file. */
  changedElsewhere(): void
}

export function createJournal({ transaction, rearrange }: Transactions, plan: Plan): Journal {
  /** Undefined when what the file has is not known. */
  let known: Waiting | undefined
  let round: { upTo: bigint; due: number[] } | undefined

  /** What a fold takes, and up to where nothing of the journal is needed then. */
  const choose = (
    waiting: Waiting,
    deviceIds: ReadonlySet<number> | undefined,
  ): { taken: Taken[]; done: bigint } => {
    const most = Math.max(slice, Math.ceil(waiting.count / sliceShare))
    if (deviceIds !== undefined) {
      const ids = [...deviceIds].filter((id) => waiting.devices.has(id))
      return { taken: ids.map((id) => take(waiting, id, most)), done: 0n }
    }
    round ??= { upTo: waiting.lastSeq, due: [...waiting.devices.keys()].reverse() }
    const { due, upTo } = round
    const taken: Taken[] = []
    let count = 0
    let at = due.length
    for (; at > 0 && count < most; at--) {
      const some = take(waiting, due[at - 1] as number, most - count)
      taken.push(some)
      count += some.entries.length
      const [next] = some.rest
      if (next !== undefined && next.seq <= upTo) break
    }
    return { taken, done: at === 0 ? upTo : 0n }
  }

  const commit = (waiting: Waiting, taken: readonly Taken[]) => {
    for (const { deviceId, entries, rest } of taken) {
      waiting.count -= entries.length
      if (rest.length === 0) waiting.devices.delete(deviceId)
      else waiting.devices.set(deviceId, rest)
    }
  }

  return {
    changedElsewhere() {
      known = undefined
      round = undefined
    },

    append(text) {
      const seq = transaction(
        (run) =>
          run({
            sql: 'INSERT INTO journal (lines) VALUES (?) RETURNING seq',
            args: [text],
          })[0]?.[0],
      ) as bigint
      if (known === undefined) return
      for (const line of text.split('\n')) addLine(known, seq, line)
      known.lastSeq = seq
    },

    fold(deviceIds) {
      const after = rearrange((run, changedElsewhere) => {
        // Where others write too, it is all folded at once: reading the journal is what costs.
        const whole = known === undefined
        known ??= read(run)
        const waiting = known
        const { taken, done } = whole ? { taken: everything(waiting), done: 0n } : choose(waiting, deviceIds)
        const count = taken.reduce((sum, { entries }) => sum + entries.length, 0)
        const needless = count === waiting.count ? waiting.lastSeq : done
        const planned = plan(messagesOf(taken), changedElsewhere)
        const results = planned.statements.map(run)
        const marks = taken.flatMap(({ deviceId, entries }) => {
          const seq = entries.at(-1)?.seq ?? 0n
          return seq > needless ? [[deviceId, String(seq)]] : []
        })
        if (marks.length > 0) run({ sql: noteFolded, args: [JSON.stringify(marks)] })
        if (needless > 0n) {
          run({ sql: 'DELETE FROM journal WHERE seq <= ?', args: [needless] })
          run({ sql: 'DELETE FROM folded WHERE seq <= ?', args: [needless] })
        }
        return () => {
          planned.done(results)
          commit(waiting, taken)
          if (round !== undefined) {
            const { upTo, due } = round
            while (due.length > 0) {
              const [next] = waiting.devices.get(due.at(-1) as number) ?? []
              if (next !== undefined && next.seq <= upTo) break
              due.pop()
            }
            if (needless >= upTo) round = undefined
          }
          return deviceIds === undefined ? round !== undefined : taken.some(({ rest }) => rest.length > 0)
        }
      })
      return after()
    },
  }
}
