/** Schemas of what the dashboard shows. */
import * as z from 'zod'
import { eventKinds } from '../devices/events.ts'
import { deviceId, time } from '../response-fields.ts'

export const fleetEvent = z.strictObject({
  id: z.int().min(1),
  device_id: deviceId,
  device_name: z.string(),
  kind: z.enum(eventKinds),
  at: time.describe('Of an event that repeats: the first time.'),
  count: z.int().min(1).optional().describe('How often it happened; of events that repeat.'),
  last_at: time.optional(),
  detail: z.record(z.string(), z.unknown()).nullable(),
})
