/** Messages that could not become readings, kept with the reason; bounded per device, so that none pushes out another's. */
import { sql } from 'drizzle-orm'
import type { RegistryDb } from '../registry/db.ts'
import { deadLetters } from '../registry/schema.ts'

export interface DeadLetter {
  /** Undefined for a message whose topic names no device. */
  readonly deviceId: number | undefined
  readonly topic: string
  readonly payload: Uint8Array
  /** One sentence, without a value of the payload. */
  readonly reason: string
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
}

export interface DeadLetters {
  /** Resolves when the message is durable; the oldest of the same device go when its bound is reached. */
  keep(letter: DeadLetter): Promise<void>
}

const maxMessages = 1000
const maxBytes = 1_000_000

/** The value of every `api_key`, in JSON or in something that was meant to be. */
const apiKeyValue = /("api_key"\s*:\s*)("(?:[^"\\]|\\.)*"?|[^,}\]\s]+)/gi

const blanked = (payload: Uint8Array): Buffer => {
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
  return text.includes('api_key')
    ? Buffer.from(text.toString('latin1').replace(apiKeyValue, '$1""'), 'latin1')
    : text
}

export function createDeadLetters({ db }: { db: RegistryDb }): DeadLetters {
  return {
    async keep({ deviceId = null, topic, payload, reason, receivedAt }) {
      const kept = blanked(payload).subarray(0, maxBytes)
      await db.batch([
        db
          .insert(deadLetters)
          .values({ deviceId, topic, payload: kept, size: kept.length, reason, receivedAt }),
        db.run(sql`delete from dead_letters where id in (
          select id from (
            select id,
              row_number() over (order by id desc) as place,
              sum(size) over (order by id desc) as bytes
            from dead_letters where device_id is ${deviceId})
          where place > ${maxMessages} or bytes > ${maxBytes})`),
      ])
    },
  }
}
