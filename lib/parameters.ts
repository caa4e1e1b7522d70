/** Parameters that more than one query has, as schemas. */
import * as z from 'zod'

/** An optional parameter; an empty one counts as absent. */
export const given = <S extends z.ZodType>(schema: S) =>
  z.preprocess((value) => (value === '' ? undefined : value), schema.optional())

const wholeFromOne = 'must be a whole number from 1'

/** How many to answer at most: a larger number is lowered to `max`. */
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

/** The id behind which a page begins, as the page before told it. */
export const pageCursor = z
  .string()
  .regex(/^\d{1,15}$/, 'is not one that this query gave')
  .meta({ description: 'Continues behind the page before: its `next_cursor`.' })
  .transform(Number)
