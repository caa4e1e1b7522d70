/** Schemas of response fields that several domains share. They type and document responses; nothing validates with them. */
import * as z from 'zod'

export const success = z.literal('success')

export const time = z
  .string()
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(?!000)\d{3}|\.\d{3}(?!000)\d{3}|\.\d{6}(?!000)\d{3})?Z$/)
  .meta({
    id: 'Time',
    format: 'date-time',
    description: 'ISO 8601 in UTC with 0, 3, 6 or 9 fraction digits, the fewest that are exact.',
    examples: ['2026-01-31T12:00:00Z'],
  })

export const deviceId = z
  .int()
  .min(1)
  .max(999_999_999_999_999)
  .meta({ id: 'DeviceId', description: 'Never used twice.', examples: [1] })

/** The number of something: 0 or more. */
export const count = z.int().min(0)

/** The `cursor` that a client sends to get the next page. */
export const nextCursor = z
  .string()
  .optional()
  .describe('The `cursor` of the next page; left out on the last one.')
