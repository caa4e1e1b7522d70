/** Schemas of query parameters that several endpoints have. */
import * as z from 'zod'
import { isTimeZone } from './time-zone.ts'

/** An optional parameter; an empty one counts as absent. */
export const optionalParameter = <S extends z.ZodType>(schema: S) =>
  z.preprocess((value) => (value === '' ? undefined : value), schema.optional())

/** A parameter that is on when it stands in the address without a value: `?dry_run` and `?dry_run=true`. */
export const flagParameter = z
  .enum(['', 'true', '1', 'false', '0'], 'must be true or false')
  .optional()
  .transform((text) => text === '' || text === 'true' || text === '1')

const wholeFromOne = 'must be a whole number from 1'

/** The largest number of items on a page; a larger `limit` counts as `max`. */
export const pageLimit = (max: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, wholeFromOne)
    .meta({
      description: `How many at most; a larger number counts as ${max}.`,
      type: 'integer',
      minimum: 1,
      maximum: 999_999_999_999_999,
      pattern: undefined,
    })
    .transform(Number)
    .refine((limit) => limit >= 1, wholeFromOne)
    .transform((limit) => Math.min(limit, max))

/** The number of items in front of a page. */
export const pageOffset = z
  .string()
  .regex(/^\d{1,15}$/, 'must be a whole number from 0')
  .meta({
    description: 'How many to leave out before the page.',
    type: 'integer',
    minimum: 0,
    maximum: 999_999_999_999_999,
    pattern: undefined,
  })
  .transform(Number)

/** Where a page begins: the `next_cursor` of the previous page. */
export const pageCursor = z
  .string()
  .regex(/^\d{1,15}$/, 'is not one that this query gave')
  .meta({ description: 'Continues after the previous page: its `next_cursor`.' })
  .transform(Number)

/** The IANA name of a time zone. */
export const timeZoneName = z
  .string()
  .max(64, 'must have at most 64 characters')
  .refine(isTimeZone, 'must be the IANA name of a time zone, such as Europe/Berlin')
