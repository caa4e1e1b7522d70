/** Schemas of a webhook's fields, for every endpoint that writes them. */
import * as z from 'zod'
import { eventPatterns } from './webhook.ts'

const maxUrl = 2048

export const url = z
  .string()
  .max(maxUrl, `must have at most ${maxUrl} characters`)
  .refine((text) => URL.canParse(text), 'must be a URL')
  .meta({ format: 'uri' })

export const events = z
  .array(z.enum(eventPatterns, `must be one of ${eventPatterns.join(', ')}`))
  .min(1, 'must name an event')
  .max(eventPatterns.length, `must name at most ${eventPatterns.length} events`)
  .transform((names) => [...new Set(names)])

export const enabled = z.boolean('must be true or false')

/** Seconds that the secret before signs, too. */
export const overlap = z
  .int('must be a whole number of seconds')
  .min(0, 'must be 0 or more')
  .max(604_800, 'must be at most 604800')
  .default(86_400)

/** A sentence for each field, for the documentation. */
export const descriptions = {
  name: 'What it is for.',
  url: 'Where messages are sent to: `https`, and no private address unless `WEBHOOK_PRIVATE_ADDRESSES` allows it.',
  events: 'What it is told of: types of events, `alert.*`, `device.*`, `command.*`, or `*` for all.',
  enabled: 'Nothing is sent while it is false, and what was not sent yet is cancelled.',
}
