/** What the embedded store answers, on any libSQL connection: of a thread of its own, or of a server. */
import { createJournal, foldForNow, isWaiting, journalSchema } from './embedded-journal.ts'
import { type Message, type MessageRow, messageOf, rowsOf, shapeOf, spanOf } from './embedded-message.ts'
import {
  type AccountRow,
  type Ask,
  account,
  accountKeyed,
  accountLost,
  asJson,
  boundRows,
  type Connection,
  codeOf,
  countLost,
  countSettled,
  deleteSpooled,
  eachDevice,
  type FileConnection,
  findDuplicates,
  fresh,
  insertBound,
  insertReadings,
  insertSpool,
  insertSpoolKeyed,
  keepDropped,
  keepOlder,
  type Lines,
  lastSpooled,
  newestReadings,
  noteKeys,
  ofAll,
  type Plan,
  pruneSlice,
  type Read,
  type Row,
  type Run,
  reservedKeys,
  reserveKeys,
  type ServerConnection,
  type Statement,
  schema,
  settleKeys,
  statementOf,
  type Transactions,
  type Written,
  waiting,
} from './embedded-sql.ts'

/** Makes the tables. */
export async function prepareTables(connection: Connection): Promise<void> {
  connection.tune()
  await connection.script(schema)
  if ('transaction' in connection) await connection.script(journalSchema)
  const columns = await connection.execute({ sql: "SELECT name FROM pragma_table_info('spool')" })
  if (columns.some(([name]) => name === 'spooled_at')) return
  await connection.script('ALTER TABLE spool ADD COLUMN spooled_at INTEGER').catch((error: unknown) => {
    // Another instance that starts at the same time was first.
    if (!/duplicate column/.test(String(error))) throw error
  })
}

/** What is known of the newest reading of a device. */
interface Newest {
  readonly ts: bigint
  readonly shape: string
}

/** Characters of rows that are bound one by one. */
const maxBound = 100_000

/** Devices whose newest reading is remembered. */
const maxNewest = 50_000
/** Longer names of fields are not worth their memory. */
const maxShape = 1000

/**
 * The newest reading of each device as this connection knows it: a message that has the same fields and is newer takes
 * nothing from what is the latest of its device, and so costs nothing more than its rows.
 */
function newestReadingsKnown() {
  const known = new Map<number, Newest>()
  return {
    forgetAll: () => known.clear(),
    forget: (deviceId: number) => known.delete(deviceId),
    set(deviceId: number, newest: Newest) {
      known.delete(deviceId)
      if (newest.shape.length > maxShape) return
      if (known.size >= maxNewest) known.delete(known.keys().next().value as number)
      known.set(deviceId, newest)
    },
    /** The devices of which a message may take something from what is the latest, and what the others have then. */
    follow(
      messages: readonly Message[],
      parsed: readonly MessageRow[][] | undefined,
    ): { unsure: Set<number>; after: Map<number, Newest> } {
      const unsure = new Set<number>()
      const after = new Map<number, Newest>()
      for (const [at, message] of messages.entries()) {
        const { deviceId } = message
        if (unsure.has(deviceId)) continue
        const before = after.get(deviceId) ?? known.get(deviceId)
        const span = before && spanOf(parsed?.[at] ?? rowsOf(message))
        if (before !== undefined && span?.shape === before.shape && span.oldest >= before.ts)
          after.set(deviceId, { ts: span.newest, shape: before.shape })
        else unsure.add(deviceId)
      }
      for (const deviceId of unsure) after.delete(deviceId)
      return { unsure, after }
    },
  }
}

const isSomethingWaiting = async (file: FileConnection): Promise<boolean> => {
  try {
    return (await file.execute(isWaiting)).length > 0
  } catch (error) {
    // Of a file that is only read: an older version of the layer has made it.
    if (/no such table/.test(String(error))) return false
    throw error
  }
}

/** Answers what is asked, on this connection; only that of a file has a journal. */
export function answerOn(connection: ServerConnection | FileConnection): (ask: Ask) => Promise<unknown> {
  const file = 'transaction' in connection ? connection : undefined
  const newest = newestReadingsKnown()

  /** Readings of messages, and what they leave as the latest of their device. @param unsure rows that may change that. */
  const addReadings = (
    add: (sql: string, json: string) => void,
    insert: () => void,
    unsure: string,
    condition: (row: string) => string,
  ) => {
    if (unsure !== '') add(keepDropped(condition('value')), unsure)
    insert()
    if (unsure !== '') add(keepOlder(condition('r.value')), unsure)
  }

  /** As many of the rows as can be bound, and the others as JSON. */
  const insertPlain = (rows: readonly MessageRow[]): Statement[] => {
    const statements: Statement[] = []
    let at = 0
    for (; at + boundRows <= rows.length; at += boundRows) {
      const args: (string | number | bigint | null)[] = []
      for (let n = at; n < at + boundRows; n += 1) {
        const [device, ts, fields, metadata, receivedAt, deviceType, location] = rows[n] as MessageRow
        const metadataJson = metadata === null ? null : JSON.stringify(metadata)
        args.push(device, ts, JSON.stringify(fields), metadataJson, receivedAt, deviceType, location)
      }
      statements.push({ sql: insertBound, args })
    }
    if (at < rows.length) {
      const rest = rows.slice(at).map(([device, ts, ...about]) => [device, String(ts), ...about])
      statements.push({ sql: insertReadings('true'), args: [JSON.stringify(rest)] })
    }
    return statements
  }

  const jsonOf = (messages: readonly Message[]) =>
    messages.length === 0 ? '' : `[${messages.map(({ rows }) => rows).join(',')}]`

  /** The writes of a group as statements of one transaction, and what is to be done with their results. */
  const planOf = (
    into: 'readings' | 'spool',
    messages: readonly Message[],
    changedElsewhere: boolean,
  ): { statements: Statement[]; done(results: readonly Row[][]): Pick<Written, 'duplicates' | 'lastId'> } => {
    const statements: Statement[] = []
    const add = (sql: string, json: string) => statements.push({ sql, args: [json] })
    const plain = messages.filter(({ keyed, count }) => !keyed && count > 0)
    const keyed = messages.filter(({ keyed, count }) => keyed && count > 0)
    const characters = plain.reduce((sum, { rows }) => sum + rows.length, 0)
    // Parsed, much would take many times its size in memory.
    const parsed = file && into === 'readings' && characters <= maxBound ? plain.map(rowsOf) : undefined
    const { unsure, after } = newest.follow(into === 'readings' ? plain : [], parsed)
    if (plain.length > 0 && into === 'readings') {
      const unsureOnes = unsure.size === 0 ? [] : plain.filter(({ deviceId }) => unsure.has(deviceId))
      const insert = () =>
        parsed ? statements.push(...insertPlain(parsed.flat())) : add(insertReadings('true'), jsonOf(plain))
      addReadings(add, insert, jsonOf(unsureOnes), () => 'true')
    } else if (plain.length > 0) {
      const all = plain.map(({ deviceId, count, receivedAt, rows }) => [deviceId, count, receivedAt, rows])
      add(insertSpool, JSON.stringify(all))
    }
    const counted = messages.filter(({ received }) => received > 0)
    if (keyed.length > 0) {
      const json = jsonOf(keyed)
      add(noteKeys, json)
      if (into === 'readings') {
        addReadings(add, () => add(insertReadings(fresh('value')), json), json, fresh)
        for (const { deviceId } of keyed) unsure.add(deviceId)
      } else add(insertSpoolKeyed, json)
      add(accountKeyed(into), json)
      add(findDuplicates, json)
    }
    if (counted.length > 0) {
      const accounts = new Map<number, AccountRow>()
      for (const { deviceId, received, rejected, count, keyed, receivedAt } of counted) {
        const row = accounts.get(deviceId) ?? [deviceId, 0, 0, 0, 0, 0, 0]
        accounts.set(deviceId, row)
        row[1] += received
        // What has keys is counted by what its keys say.
        if (!keyed) row[into === 'readings' ? 2 : 3] += count
        row[4] += rejected
        row[6] = Math.max(row[6], receivedAt)
      }
      add(account, JSON.stringify([...accounts.values()]))
    }
    // Where others write too, it would not be known for long.
    if (unsure.size > 0 && !changedElsewhere) add(newestReadings, JSON.stringify([...unsure]))
    if (into === 'spool') statements.push({ sql: lastSpooled })
    const done = (results: readonly Row[][]) => {
      const rowsOf = (sql: string) =>
        results[statements.findIndex((statement) => statement.sql === sql)] ?? []
      for (const [deviceId, reading] of after) newest.set(deviceId, reading)
      for (const deviceId of unsure) newest.forget(deviceId)
      for (const [deviceId, ts, fields] of rowsOf(newestReadings))
        newest.set(Number(deviceId), { ts: ts as bigint, shape: shapeOf(JSON.parse(fields as string)) })
      return {
        duplicates: rowsOf(findDuplicates).map(([token]) => String(token)),
        lastId: Number(rowsOf(lastSpooled)[0]?.[0] ?? 0),
      }
    }
    return { statements, done }
  }
  const plan: Plan = (messages, changedElsewhere) => planOf('readings', messages, changedElsewhere)

  /** Before what a transaction does: what is known here of the file may be old. */
  const told =
    <T>(work: (run: Run, changedElsewhere: boolean) => T) =>
    (run: Run, changedElsewhere: boolean): T => {
      if (changedElsewhere) {
        newest.forgetAll()
        journal?.changedElsewhere()
      }
      return work(run, changedElsewhere)
    }
  const transactions: Transactions | undefined = file && {
    transaction: (work) => file.transaction(told(work)),
    rearrange: (work) => file.rearrange(told(work)),
  }
  const journal = transactions && createJournal(transactions, plan)

  /** Runs statements as one transaction, all or none; answers the rows of each. */
  const write = async (make: (changedElsewhere: boolean) => readonly Statement[]): Promise<Row[][]> => {
    if ('write' in connection) return connection.write(make(true))
    return transactions?.transaction((run, changedElsewhere) => make(changedElsewhere).map(run)) ?? []
  }

  /** Folds all of these devices that waits in the journal: what comes now is to find it. */
  const foldAllOf = (deviceIds: ReadonlySet<number>) => {
    while (journal?.fold(deviceIds)) {}
  }

  const writeMessages = async (into: 'readings' | 'spool', messages: readonly Message[]) => {
    let planned: ReturnType<typeof planOf> | undefined
    const results = await write((changedElsewhere) => {
      planned = planOf(into, messages, changedElsewhere)
      return planned.statements
    })
    return planned?.done(results) ?? { duplicates: [], lastId: 0 }
  }

  const none: Written = { failed: [], code: '', duplicates: [], lastId: 0 }

  /** Writes the messages in one transaction; where that fails, each for itself. */
  const writeGroup = async (into: 'readings' | 'spool', messages: readonly Message[]): Promise<Written> => {
    try {
      // What came before them stands before them.
      if (into === 'readings') foldAllOf(new Set(messages.map(({ deviceId }) => deviceId)))
      return { ...none, ...(await writeMessages(into, messages)) }
    } catch (error) {
      let code = codeOf(error)
      if (messages.length === 1 || ofAll.test(code))
        return { ...none, failed: messages.map((_, at) => at), code }
      const failed: number[] = []
      const duplicates: string[] = []
      let lastId = 0
      for (const [at, message] of messages.entries()) {
        await writeMessages(into, [message]).then(
          (written) => {
            duplicates.push(...written.duplicates)
            lastId = Math.max(lastId, written.lastId)
          },
          (reason: unknown) => {
            failed.push(at)
            code = codeOf(reason)
          },
        )
      }
      return { failed, code, duplicates, lastId }
    }
  }

  const append = ({ count, text }: Lines): Written => {
    try {
      journal?.append(text)
      return none
    } catch (error) {
      return { ...none, failed: Array.from({ length: count }, (_, at) => at), code: codeOf(error) }
    }
  }

  /** @throws {unknown} what the database threw. */
  const read = async ({ journal: what, ...ask }: Read & { journal?: 'tell' | 'fold' }) => {
    const statement = statementOf(ask)
    if (file === undefined || what === undefined || !(await isSomethingWaiting(file)))
      return connection.execute(statement)
    if (what === 'tell') return waiting
    return file.rehearse((run) => {
      foldForNow(run, plan, 'deviceId' in ask ? ask.deviceId : undefined)
      return run(statement)
    })
  }

  const settle = (settled: string): Promise<unknown> =>
    write(() => [
      { sql: countSettled, args: [settled] },
      { sql: deleteSpooled, args: [settled] },
    ])

  /** Takes the readings of a range out of the spool, message by message; each keeps its place. */
  const dropSpooled = async (deviceId: number, from: bigint, to: bigint): Promise<void> => {
    let after = 0
    for (;;) {
      const slice = await connection.execute({
        sql: 'SELECT id, at, rows, spooled_at FROM spool WHERE device_id = ? AND id > ? ORDER BY id LIMIT 50',
        args: [deviceId, after],
      })
      if (slice.length === 0) return
      const statements: Statement[] = []
      let dropped = 0
      for (const [id, at, rows, spooledAt] of slice as [bigint, bigint, string, bigint | null][]) {
        after = Number(id)
        const readings = JSON.parse(`[${rows}]`) as [number, string][]
        const kept = readings.filter(([, ts]) => BigInt(ts) < from || BigInt(ts) >= to)
        if (kept.length === readings.length) continue
        dropped += readings.length - kept.length
        statements.push({ sql: 'DELETE FROM spool WHERE id = ?', args: [after] })
        if (kept.length === 0) continue
        const text = kept.map((reading) => JSON.stringify(reading)).join(',')
        statements.push({
          sql: `INSERT INTO spool (id, device_id, count, bytes, at, rows, spooled_at)
                VALUES (?1, ?2, ?3, octet_length(?5), ?4, ?5, ?6)`,
          args: [after, deviceId, kept.length, at, text, spooledAt],
        })
      }
      if (dropped === 0) continue
      const change: AccountRow = [deviceId, 0, dropped, -dropped, 0, 0, 0]
      await write(() => [{ sql: account, args: [JSON.stringify([change])] }, ...statements])
    }
  }

  /** Deletes at most {@link pruneSlice} readings that are too old. Answers whether there may be more. */
  const prune = async (before: bigint): Promise<boolean> => {
    newest.forgetAll()
    const [old] = await rows(
      `${eachDevice} SELECT id FROM device WHERE id IS NOT NULL
         AND (SELECT min(ts) FROM readings WHERE device_id = id) < ? LIMIT 1`,
      before,
    )
    if (old === undefined) {
      await rows('DELETE FROM latest WHERE ts < ?', before)
      return false
    }
    await rows(
      `DELETE FROM readings WHERE device_id = ?1 AND ts IN
         (SELECT ts FROM readings WHERE device_id = ?1 AND ts < ?2 ORDER BY ts LIMIT ${pruneSlice})`,
      old[0] as bigint,
      before,
    )
    return true
  }

  const remove = (deviceId: number, from: bigint, to: bigint): Promise<unknown> => {
    newest.forget(deviceId)
    return write(() => [
      { sql: 'DELETE FROM readings WHERE device_id = ? AND ts >= ? AND ts < ?', args: [deviceId, from, to] },
      { sql: 'DELETE FROM latest WHERE device_id = ?', args: [deviceId] },
      // With max(), the other columns are those of the row that has it.
      {
        sql: `INSERT INTO latest (device_id, field, ts, type, value)
              SELECT device_id, key, max(ts), ${asJson('fields')} FROM readings, json_each(fields) AS f
              WHERE device_id = ? GROUP BY key`,
        args: [deviceId],
      },
    ])
  }

  const rows = (sql: string, ...args: (number | bigint | null)[]): Promise<Row[]> =>
    connection.execute({ sql, args })

  return async (ask: Ask): Promise<unknown> => {
    switch (ask.op) {
      case 'write':
        return writeGroup(ask.into, ask.messages.text.split('\n').map(messageOf))
      case 'append':
        return append(ask.messages)
      case 'fold':
        return journal?.fold(ask.deviceId === undefined ? undefined : new Set([ask.deviceId])) ?? false
      case 'count':
        await connection.execute({ sql: account, args: [JSON.stringify([ask.change])] })
        return undefined
      case 'reserveKeys': {
        const [, found] = await write(() => [
          { sql: reserveKeys, args: [ask.keys] },
          { sql: reservedKeys, args: [ask.keys] },
        ])
        return found
      }
      case 'note': {
        const results = await write(() => [
          { sql: settleKeys, args: [ask.keys] },
          { sql: account, args: [JSON.stringify([ask.change])] },
          { sql: accountLost, args: [ask.keys, ask.deviceId] },
          { sql: countLost, args: [ask.keys] },
        ])
        return Number(results.at(-1)?.[0]?.[0] ?? 0)
      }
      case 'settle':
        return settle(JSON.stringify(ask.settled))
      case 'dropSpooled':
        return dropSpooled(ask.deviceId, ask.from, ask.to)
      case 'noteRemoved':
        await write(() => [
          { sql: 'DELETE FROM removed WHERE at < ?', args: [ask.forget] },
          {
            sql: 'INSERT INTO removed (device_id, from_ts, to_ts, at) VALUES (?, ?, ?, ?)',
            args: [ask.deviceId, ask.from, ask.to, ask.at],
          },
        ])
        return undefined
      case 'prune':
        return prune(ask.before)
      case 'forgetKeys':
        return rows(
          `DELETE FROM seen WHERE (device_id, key) IN
             (SELECT device_id, key FROM seen WHERE at < ? LIMIT ${pruneSlice}) RETURNING 1`,
          ask.before,
        )
      case 'remove':
        foldAllOf(new Set([ask.deviceId]))
        await remove(ask.deviceId, ask.from, ask.to)
        return undefined
      case 'check':
        return rows(ask.write ? 'UPDATE spool_size SET bytes = bytes' : 'SELECT 1')
      case 'close':
        connection.close()
        return undefined
      default:
        return read(ask)
    }
  }
}
