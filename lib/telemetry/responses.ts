/** Schemas of readings, accounts and dead letters, as responses show them. */
import * as z from 'zod'
import { count, deviceId, time } from '../response-fields.ts'
import { warningCodes } from './reading.ts'
import { maxWarnings } from './warnings.ts'

export const fieldValue = z.union([z.number(), z.string(), z.boolean()]).meta({ id: 'FieldValue' })

/** Its type says nothing of the fields: TypeScript cannot tell them from `metadata`. */
export const reading: z.ZodType<{
  readonly timestamp: string
  readonly metadata?: Readonly<Record<string, string>> | undefined
}> = z
  .strictObject({ timestamp: time, metadata: z.record(z.string(), z.string()).optional() })
  .catchall(fieldValue)
  .meta({ id: 'StoredReading', description: 'Beside its time every field under its own name.' })

export const rejections = z
  .array(
    z.strictObject({
      index: count,
      code: z.enum(['VALIDATION_FAILED', 'TOO_OLD']),
      message: z.string(),
    }),
  )
  .describe('Readings of the message that were rejected, with their places in it.')

export const warnings = z
  .array(
    z.strictObject({
      index: count.optional().describe('Place of the reading in the message; left out for a single reading.'),
      path: z.string().describe('Inside the reading; empty for all of it.'),
      code: z.enum(warningCodes),
      message: z.string(),
    }),
  )
  .max(maxWarnings)
  .describe(`What was left out or changed in the stored readings: the first ${maxWarnings}.`)

export const backend = z.enum(['embedded', 'influxdb'])

export const account = z.strictObject({
  received: count.describe('stored + spooled + rejected + duplicates.'),
  stored: count,
  spooled: count.describe('Waiting for the time-series database now.'),
  rejected: count,
  duplicates: count.describe('Recognised by their keys.'),
  warned: count.describe('Readings in which something was left out or changed; the others count them too.'),
  exact: z.boolean().describe('False where readings wait in a queue that cannot be counted.'),
})

export const deletion = z
  .strictObject({
    deletion_id: z.int().min(1),
    device_id: deviceId,
    start_time: time.nullable().describe('Null for everything that the device has.'),
    stop_time: time.nullable(),
    state: z.enum(['running', 'finished']),
    deleted: count.describe('Readings that are deleted so far.'),
    progress: z
      .number()
      .min(0)
      .max(1)
      .describe('The share of the time between the oldest and the newest reading that is done.'),
    requested_at: time,
    finished_at: time.nullable(),
  })
  .meta({ id: 'Deletion', description: 'A large deletion, which goes on in slices.' })

/** Where a deletion goes on. */
export const deletionId = { deletion_id: z.int().min(1).describe('Of the deletion that goes on.') }

export const deadLetter = z.strictObject({
  id: z.int().min(1),
  device_id: deviceId.nullable(),
  topic: z.string(),
  reason: z.string(),
  received_at: time,
  rejected: z.int().min(1).describe('Readings that count as rejected because of it.'),
  size: count.describe('Bytes of the payload.'),
  payload: z.string().describe('As text, its first 500 bytes.'),
})
