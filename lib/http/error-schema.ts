/** Schema of every error response. */
import * as z from 'zod'
import { errorCodes } from '../errors.ts'

export const errorResponse = z
  .strictObject({
    error: z.strictObject({
      code: z.enum(errorCodes),
      message: z.string().min(1),
      request_id: z.string().regex(/^[0-9a-f]{24}$/),
      details: z
        .array(z.strictObject({ path: z.string(), message: z.string() }))
        .min(1)
        .optional()
        .describe('Every field that was refused.'),
    }),
  })
  .meta({ id: 'Error' })
