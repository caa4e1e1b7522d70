/** Schemas of a configuration, for every endpoint that writes it. */
import * as z from 'zod'

const keyRule = 'must have 1 to 128 letters, digits, _ . - or :'

export const configurationKey = z.string().regex(/^(?!__proto__$)[A-Za-z0-9_.:-]{1,128}$/, keyRule)

export const jsonValue = z.json('must be a value of JSON')

/** zod leaves the key `__proto__` out of a record before it checks the keys, so that nobody would hear of it. */
const refuseProto = (value: unknown, { addIssue }: z.RefinementCtx): unknown => {
  if (typeof value === 'object' && value !== null && Object.hasOwn(value, '__proto__'))
    addIssue({ code: 'custom', path: ['__proto__'], message: keyRule })
  return value
}

/** Values by key; null deletes a key. */
export const configurationChanges = z.preprocess(
  refuseProto,
  z.record(configurationKey, jsonValue, 'must be an object of keys and values'),
)
