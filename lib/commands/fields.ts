/** What may be written of a configuration, over whichever endpoint. */
import * as z from 'zod'

export const configurationKey = z
  .string()
  .regex(/^(?!__proto__$)[A-Za-z0-9_.:-]{1,128}$/, 'must have 1 to 128 letters, digits, _ . - or :')

export const jsonValue = z.json('must be a value of JSON')
