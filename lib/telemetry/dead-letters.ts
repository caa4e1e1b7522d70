/**
 * Dead letters: messages that could not become readings, with the reason. Their number is limited per device, so that no device
 * pushes out letters of another.
 */
import { and, desc, eq, lt, sql } from 'drizzle-orm'
import type { Count } from '../counts.ts'
import { AppError } from '../errors.ts'
import { formatMillis } from '../iso-time.ts'
import type { RegistryDb } from '../registry/db.ts'
import { deadLetters } from '../registry/schema.ts'
import { isSecretName } from './payload/names.ts'

export interface NewDeadLetter {
  /** Undefined for a message whose topic names no device. */
  readonly deviceId: number | undefined
  readonly topic: string
  readonly payload: Uint8Array
  /** One sentence, without a value of the payload. */
  readonly reason: string
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
  /** The id of the message at its first try. */
  readonly messageId: string
  /** Places of the refused readings when others of the message were accepted; undefined for the whole message. */
  readonly indexes?: readonly number[] | undefined
  /** Keeps one letter for this message id, however many processes ask for it. */
  readonly once?: boolean
}

export interface DeadLetter extends NewDeadLetter {
  readonly id: number
  /** Readings that count as rejected because of it. */
  readonly rejected: number
}

export interface DeadLetters {
  /** Resolves when the message is durable. Deletes the oldest letters of the device beyond its bound. */
  keep(letter: NewDeadLetter): Promise<void>
  /** Newest first. @param options.before an id. */
  list(options: {
    limit: number
    before?: number | undefined
    deviceId?: number | undefined
  }): Promise<{ letters: DeadLetter[]; total: number }>
  /** How many there are, of all devices. */
  count(): Promise<number>
  /** @throws {AppError} NOT_FOUND */
  get(id: number): Promise<DeadLetter>
  /** Leaves only these readings in a letter. @returns false when the letter was gone or changed meanwhile. */
  narrow(letter: DeadLetter, indexes: readonly number[], reason: string): Promise<boolean>
  /** @returns false when the letter was gone. */
  discard(id: number): Promise<boolean>
}

const maxMessages = 1000
const maxBytes = 1_000_000

/** Finds the value of an `api_key` in broken JSON; a nested value reaches to the end. Linear in the length. */
const looseValue =
  /(api(?:_|\\u005f)key["']?\s*[:=]\s*)("(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[[{][\s\S]*$|[^,}\]\s]+)/gi
const token = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g

/** Empties every value of `api_key` in a JSON text, at any depth and of any type. */
const withoutKeys = (json: string): string => {
  const tokens = [...json.matchAll(token)]
  let [text, from] = ['', 0]
  for (let at = 0; at < tokens.length; at += 1) {
    const [name = ''] = tokens[at] ?? []
    if (tokens[at + 1]?.[0] !== ':' || !isSecretName(JSON.parse(name) as string)) continue
    at += 2
    // A null holds no secret, and an empty text in its place would be refused at a replay.
    if (tokens[at]?.[0] === 'null') continue
    const start = tokens[at]?.index ?? json.length
    for (let depth = 0; ; at += 1) {
      const part = tokens[at]?.[0]
      if (part === '{' || part === '[') depth += 1
      if (part === '}' || part === ']') depth -= 1
      if (depth === 0 || part === undefined) break
    }
    text += `${json.slice(from, start)}""`
    from = (tokens[at]?.index ?? json.length) + (tokens[at]?.[0].length ?? 0)
  }
  return text + json.slice(from)
}

const isJson = (text: string) => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

const blanked = (payload: Uint8Array): Buffer => {
  // Latin-1 maps every byte to one character, so that bytes that are no UTF-8 stay as they came.
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('latin1')
  return Buffer.from(isJson(text) ? withoutKeys(text) : text.replace(looseValue, '$1""'), 'latin1')
}

const toLetter = (row: typeof deadLetters.$inferSelect): DeadLetter => ({
  id: row.id,
  deviceId: row.deviceId ?? undefined,
  topic: row.topic,
  payload: row.payload,
  reason: row.reason,
  receivedAt: row.receivedAt,
  messageId: row.messageId,
  rejected: row.rejected,
  indexes: row.indexes === null ? undefined : (JSON.parse(row.indexes) as number[]),
})

export interface DeadLettersOptions {
  readonly db: RegistryDb
  readonly count?: Count | undefined
}

export function createDeadLetters({ db, count }: DeadLettersOptions): DeadLetters {
  return {
    async keep({ deviceId = null, topic, payload, reason, receivedAt, messageId, indexes, once }) {
      const kept = blanked(payload).subarray(0, maxBytes)
      const isNew = once
        ? sql`not exists (select 1 from dead_letters where device_id is ${deviceId} and message_id = ${messageId})`
        : sql`true`
      await db.batch([
        db.run(sql`insert into dead_letters
          (device_id, topic, payload, size, reason, received_at, message_id, rejected, indexes)
          select ${deviceId}, ${topic}, ${kept}, ${kept.length}, ${reason}, ${receivedAt}, ${messageId},
            ${indexes?.length ?? 1}, ${indexes === undefined ? null : JSON.stringify(indexes)}
          where ${isNew}`),
        db.run(sql`delete from dead_letters where id in (
          select id from (
            select id,
              row_number() over (order by id desc) as place,
              sum(size) over (order by id desc) as bytes
            from dead_letters where device_id is ${deviceId})
          where place > ${maxMessages} or bytes > ${maxBytes})`),
      ])
      count?.('DeadLetters')
    },

    async list({ limit, before, deviceId }) {
      const ofDevice = deviceId === undefined ? undefined : eq(deadLetters.deviceId, deviceId)
      const [rows, total] = await db.batch([
        db
          .select()
          .from(deadLetters)
          .where(and(ofDevice, before === undefined ? undefined : lt(deadLetters.id, before)))
          .orderBy(desc(deadLetters.id))
          .limit(limit),
        db.select({ count: sql<number>`count(*)` }).from(deadLetters).where(ofDevice),
      ])
      return { letters: rows.map(toLetter), total: total[0]?.count ?? 0 }
    },

    async count() {
      const [row] = await db.select({ count: sql<number>`count(*)` }).from(deadLetters)
      return row?.count ?? 0
    },

    async get(id) {
      const [row] = await db.select().from(deadLetters).where(eq(deadLetters.id, id))
      if (row === undefined) throw new AppError('NOT_FOUND', 'There is no such dead letter.')
      return toLetter(row)
    },

    async narrow({ id, indexes: before }, indexes, reason) {
      const unchanged =
        before === undefined
          ? sql`${deadLetters.indexes} is null`
          : eq(deadLetters.indexes, JSON.stringify(before))
      const changed = await db
        .update(deadLetters)
        .set({ indexes: JSON.stringify(indexes), rejected: indexes.length, reason })
        .where(and(eq(deadLetters.id, id), unchanged))
        .returning({ id: deadLetters.id })
      return changed.length > 0
    },

    async discard(id) {
      const gone = await db
        .delete(deadLetters)
        .where(eq(deadLetters.id, id))
        .returning({ id: deadLetters.id })
      return gone.length > 0
    },
  }
}

/** Bytes of the payload that a list shows. */
const shownPayload = 500

/** A letter as operators see it; the payload as text, as far as a list shows it. */
export const deadLetterView = (letter: DeadLetter) => ({
  id: letter.id,
  device_id: letter.deviceId ?? null,
  topic: letter.topic,
  reason: letter.reason,
  received_at: formatMillis(letter.receivedAt),
  rejected: letter.rejected,
  size: letter.payload.length,
  payload: Buffer.from(letter.payload).toString('utf8', 0, shownPayload),
})
