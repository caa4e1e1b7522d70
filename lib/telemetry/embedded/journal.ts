/**
 * The journal of the embedded store's file. To write a reading where it belongs costs a page of the file per device. A group of
 * small messages is therefore made durable as one row of the journal, and folded into the tables later: when each device has
 * several messages, and before anything that has to see them. This takes the writing thread from 57–62 to 16–26 µs a message;
 * without the journal HTTP falls from about 60 % to 40 % of the rate of a server that only echoes.
 *
 * `append` adds a row. `fold` moves messages of some or all devices into the tables, oldest first, and notes in `folded` how
 * far each device has come. A row goes when every device has passed it. Folding changes nothing that a query sees, so that a
 * power cut may undo it as long as the rows of the journal are still there.
 */
import type { KeyedRequest } from '../reading-keys.ts'
import type { WriteEntry } from '../store.ts'
import { codeOf, type FileConnection, type Run, runSteps, type Step } from './connection.ts'
import { type Lines, type Message, type MessageReading, readRows, type Written } from './message.ts'
import type { DatabaseSession } from './session.ts'

/** Facts of a message beside its readings. */
export interface MessageFacts {
  readonly counted: boolean
  readonly rejected: number
  readonly warned?: number | undefined
  readonly request?: KeyedRequest | undefined
  readonly keys?: readonly (string | undefined)[] | undefined
  /** One per reading; given exactly when a reading has a key. */
  readonly tokens?: readonly string[] | undefined
  /** What alert rules are to judge, as JSON; see `encodeSamples`. */
  readonly samples?: string | undefined
}

/** Kinds of a line: not counted; counted; counted, with keys. */
const [plain, counted, keyed] = ['p', 'c', 'k']
/** Follows the kind of a line whose samples stand before its readings. */
const judged = 's'

/** The fourth part of a line: the rejected readings, and only where there are any the warned ones and the request. */
const countsOf = ({ rejected, warned = 0, request }: MessageFacts): string => {
  if (request !== undefined) return `${rejected},${warned},${request.digest},${request.key}`
  return warned > 0 ? `${rejected},${warned}` : `${rejected}`
}

/** A digest and an Idempotency-Key, which are visible ASCII; only the key may have commas. */
const countsPattern = /^(\d+)(?:,(\d+)(?:,([^,]+),(.+))?)?$/

const readCounts = (part: string): Pick<Message, 'rejected' | 'warned' | 'request'> => {
  if (!part.includes(',')) return { rejected: Number(part), warned: 0, request: undefined }
  const [, rejected, warned, digest, key] = countsPattern.exec(part) ?? []
  return {
    rejected: Number(rejected),
    warned: Number(warned),
    request: digest !== undefined && key !== undefined ? { digest, key } : undefined,
  }
}

/**
 * A message as one line of text, for the thread and for the journal.
 * `JSON.stringify` writes no tab and no line break, so tabs can separate the parts of a line, and line breaks the lines.
 */
export function encodeMessage(
  { deviceId, receivedAt, deviceType, location, readings }: WriteEntry,
  facts: MessageFacts,
): string {
  const { counted: isCounted, keys, tokens, samples } = facts
  const bare = tokens !== undefined ? keyed : isCounted ? counted : plain
  const kind = samples === undefined ? bare : `${bare}${judged}`
  let line = `${deviceId}\t${receivedAt}\t${kind}\t${countsOf(facts)}\t${JSON.stringify(deviceType)}\t${JSON.stringify(location)}`
  if (samples !== undefined) line += `\t${samples}`
  for (const [at, { time, fields, metadata }] of readings.entries()) {
    line += `\t${time}\t${JSON.stringify(fields)}\t${metadata ? JSON.stringify(metadata) : ''}`
    if (tokens !== undefined) line += `\t${JSON.stringify(keys?.[at] ?? null)}\t${tokens[at]}`
  }
  return line
}

const deviceOfLine = (line: string): number => Number(line.slice(0, line.indexOf('\t')))

/** Every message has the same members in the same order: spreads and further forms would double its cost. */
export function decodeMessage(line: string): Message {
  const parts = line.split('\t')
  const part = (at: number) => parts[at] ?? ''
  const kind = part(2)
  const isKeyed = kind.startsWith(keyed)
  const isJudged = kind.endsWith(judged)
  const readings: MessageReading[] = []
  for (let at = isJudged ? 7 : 6; at < parts.length; at += isKeyed ? 5 : 3) {
    const [ts, fields, metadata] = [BigInt(part(at)), part(at + 1), part(at + 2) || null]
    if (!isKeyed) readings.push({ ts, fields, metadata })
    else {
      const key = JSON.parse(part(at + 3)) as string | null
      readings.push({ ts, fields, metadata, key, token: part(at + 4) })
    }
  }
  const { rejected, warned, request } = readCounts(part(3))
  return {
    deviceId: Number(part(0)),
    receivedAt: Number(part(1)),
    deviceType: JSON.parse(part(4)) as string,
    location: JSON.parse(part(5)) as string | null,
    counted: !kind.startsWith(plain),
    keyed: isKeyed,
    rejected,
    warned,
    request,
    samples: isJudged ? part(6) : undefined,
    readings,
  }
}

/** Turns a line of an earlier version's journal into one of this version. */
function upgradeLine(legacy: string): string {
  const tab = legacy.indexOf('\t')
  const [deviceId = 0, receivedAt = 0, , received = 0, rejected = 0] = legacy
    .slice(0, tab)
    .split(' ')
    .map(Number)
  const entry = readRows(legacy.slice(tab + 1))
  return encodeMessage({ ...entry, deviceId, receivedAt }, { counted: received > 0, rejected })
}

/**
 * Longest line that goes through the journal, in characters. In a longer line the readings themselves cost most, so the journal
 * would not help.
 */
export const maxJournaled = 2000

/** Messages that one fold moves, so that a write waits for it for milliseconds only. */
const slice = 256
/** One fold moves at least this share of the waiting messages: 1/128. */
const sliceShare = 128

/** Begins the rows of this version. Rows of earlier versions begin with the number of a device. */
const versionMark = 'v2\n'

interface Entry {
  readonly seq: bigint
  readonly line: string
}

/** The messages of one device that a fold moves, and those that stay. */
interface Taken {
  readonly deviceId: number
  readonly entries: readonly Entry[]
  readonly rest: Entry[]
}

const linesOf = (row: string): string[] =>
  row.startsWith(versionMark) ? row.slice(versionMark.length).split('\n') : row.split('\n').map(upgradeLine)

/** The messages that wait in the journal, by device, in the order of their arrival. */
class Waiting {
  readonly devices = new Map<number, Entry[]>()
  count = 0
  lastSeq = 0n

  static read(run: Run): Waiting {
    const folded = new Map(
      run({ sql: 'SELECT device_id, seq FROM folded' }).map(([id, seq]) => [Number(id), seq as bigint]),
    )
    const waiting = new Waiting()
    for (const [seq, row] of run({ sql: 'SELECT seq, lines FROM journal ORDER BY seq' }) as [
      bigint,
      string,
    ][]) {
      waiting.add(
        seq,
        linesOf(row).filter((line) => seq > (folded.get(deviceOfLine(line)) ?? 0n)),
      )
    }
    return waiting
  }

  add(seq: bigint, lines: readonly string[]): void {
    for (const line of lines) {
      const deviceId = deviceOfLine(line)
      const entries = this.devices.get(deviceId)
      if (entries === undefined) this.devices.set(deviceId, [{ seq, line }])
      else entries.push({ seq, line })
    }
    this.count += lines.length
    this.lastSeq = seq
  }

  /** The oldest messages of a device, and all messages in the same row as the last of them. */
  oldestOf(deviceId: number, most = Number.POSITIVE_INFINITY): Taken {
    const entries = this.devices.get(deviceId) ?? []
    let end = Math.min(most, entries.length)
    while (end > 0 && entries[end]?.seq === entries[end - 1]?.seq) end += 1
    return { deviceId, entries: entries.slice(0, end), rest: entries.slice(end) }
  }

  everything(): Taken[] {
    return [...this.devices.keys()].map((deviceId) => this.oldestOf(deviceId))
  }

  /** Devices whose ids are near each other share pages of the tables: a fold of them changes fewer pages. */
  devicesFromLast(): number[] {
    return [...Float64Array.from(this.devices.keys()).sort().reverse()]
  }

  remove(taken: readonly Taken[]): void {
    for (const { deviceId, entries, rest } of taken) {
      this.count -= entries.length
      if (rest.length === 0) this.devices.delete(deviceId)
      else this.devices.set(deviceId, rest)
    }
  }

  /** Whether a message of the device waits in this row or an older one. */
  hasUpTo(deviceId: number, seq: bigint): boolean {
    const [next] = this.devices.get(deviceId) ?? []
    return next !== undefined && next.seq <= seq
  }
}

const messagesOf = (taken: readonly Taken[]): Message[] =>
  taken.flatMap(({ entries }) => entries.map(({ line }) => decodeMessage(line)))

/** Finds whether a message waits, whatever its device and whichever process wrote it. */
export const selectAnyWaiting = { sql: 'SELECT 1 FROM journal LIMIT 1' }

const noteFolded = `
  INSERT INTO folded (device_id, seq) SELECT value ->> 'device', value ->> 'seq' FROM json_each(?) WHERE true
  ON CONFLICT DO UPDATE SET seq = excluded.seq`

/** All messages that waited when a round of folding began; later ones are for the next round. */
interface Round {
  readonly upTo: bigint
  /** Devices that still have such messages; the last one is next. */
  readonly due: number[]
}

/** The steps that write messages into the tables. */
type MakeSteps = (
  session: DatabaseSession,
  target: 'readings',
  messages: readonly Message[],
  changedElsewhere: boolean,
) => readonly Step[]

export class Journal {
  readonly #session: DatabaseSession
  readonly #file: FileConnection
  readonly #makeSteps: MakeSteps
  /** Undefined until the journal of the file is read, and after another process has changed it. */
  #waiting: Waiting | undefined
  #round: Round | undefined

  constructor(session: DatabaseSession, file: FileConnection, makeSteps: MakeSteps) {
    this.#session = session
    this.#file = file
    this.#makeSteps = makeSteps
  }

  /** Forgets which messages wait: another process may have folded some. */
  forget(): void {
    this.#waiting = undefined
    this.#round = undefined
  }

  /** Makes messages durable: all of them, or none. */
  append({ count, text }: Lines): Written {
    try {
      // Changes of other processes are noticed by the next fold, which is the first to need what is known here.
      const seq = this.#file.insert({
        sql: 'INSERT INTO journal (lines) VALUES (?)',
        args: [versionMark + text],
      })
      this.#waiting?.add(seq, text.split('\n'))
      return { failed: [], code: '', duplicates: [] }
    } catch (error) {
      return { failed: Array.from({ length: count }, (_, at) => at), code: codeOf(error), duplicates: [] }
    }
  }

  /** Folds all messages of these devices. */
  foldAllOf(deviceIds: ReadonlySet<number>): void {
    while (this.fold(deviceIds)) {}
  }

  /**
   * Folds some of the messages that wait: of these devices, or, in rounds, of all.
   * @returns whether there is more to fold: of these devices, or in this round.
   */
  fold(deviceIds?: ReadonlySet<number>): boolean {
    const finish = this.#file.transactionWithoutFsync((run, changedElsewhere) => {
      this.#session.noticeChange(changedElsewhere)
      // To read the journal is the expensive part: where others write too, everything is folded at once.
      const isFresh = this.#waiting === undefined
      this.#waiting ??= Waiting.read(run)
      const waiting = this.#waiting
      const { taken, done } = isFresh
        ? { taken: waiting.everything(), done: 0n }
        : this.#choose(waiting, deviceIds)
      const committed = runSteps(
        run,
        this.#makeSteps(this.#session, 'readings', messagesOf(taken), changedElsewhere),
      )
      const takesAll = taken.reduce((sum, { entries }) => sum + entries.length, 0) === waiting.count
      const deletableUpTo = takesAll ? waiting.lastSeq : done
      this.#noteProgress(run, taken, deletableUpTo)
      return () => {
        committed()
        waiting.remove(taken)
        this.#advanceRound(waiting, deletableUpTo)
        if (deviceIds === undefined) return this.#round !== undefined
        return taken.some(({ rest }) => rest.length > 0)
      }
    })
    return finish()
  }

  /** Folds what waits, of one device or of all, in a transaction that is rolled back afterwards. */
  foldInDryRun(run: Run, deviceId: number | undefined): void {
    const waiting = Waiting.read(run)
    const taken = deviceId === undefined ? waiting.everything() : [waiting.oldestOf(deviceId)]
    for (const step of this.#makeSteps(this.#session, 'readings', messagesOf(taken), true)) run(step)
  }

  /** Chooses the messages of one fold. `done`: the rows up to this one are not needed afterwards. */
  #choose(waiting: Waiting, deviceIds: ReadonlySet<number> | undefined): { taken: Taken[]; done: bigint } {
    const most = Math.max(slice, Math.ceil(waiting.count / sliceShare))
    if (deviceIds !== undefined) {
      const ids = [...deviceIds].filter((id) => waiting.devices.has(id))
      return { taken: ids.map((id) => waiting.oldestOf(id, most)), done: 0n }
    }
    this.#round ??= { upTo: waiting.lastSeq, due: waiting.devicesFromLast() }
    const { due, upTo } = this.#round
    const taken: Taken[] = []
    let count = 0
    let left = due.length
    while (left > 0 && count < most) {
      const some = waiting.oldestOf(due[left - 1] ?? 0, most - count)
      taken.push(some)
      count += some.entries.length
      const [next] = some.rest
      if (next !== undefined && next.seq <= upTo) break
      left -= 1
    }
    return { taken, done: left === 0 ? upTo : 0n }
  }

  /** Notes how far each device is folded, and deletes the rows that no device needs. */
  #noteProgress(run: Run, taken: readonly Taken[], deletableUpTo: bigint): void {
    const marks = taken.flatMap(({ deviceId, entries }) => {
      const seq = entries.at(-1)?.seq ?? 0n
      return seq > deletableUpTo ? [{ device: deviceId, seq: String(seq) }] : []
    })
    if (marks.length > 0) run({ sql: noteFolded, args: [JSON.stringify(marks)] })
    if (deletableUpTo === 0n) return
    run({ sql: 'DELETE FROM journal WHERE seq <= ?', args: [deletableUpTo] })
    run({ sql: 'DELETE FROM folded WHERE seq <= ?', args: [deletableUpTo] })
  }

  #advanceRound(waiting: Waiting, deletableUpTo: bigint): void {
    if (this.#round === undefined) return
    const { upTo, due } = this.#round
    for (let next = due.at(-1); next !== undefined && !waiting.hasUpTo(next, upTo); next = due.at(-1))
      due.pop()
    if (deletableUpTo >= upTo) this.#round = undefined
  }
}
