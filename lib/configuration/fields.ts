/** Schemas of a configuration, for every endpoint that writes it. */
import * as z from 'zod'
import { refuseProto } from '../json.ts'

const keyRule = 'must have 1 to 128 letters, digits, _ . - or :'

export const configurationKey = z.string().regex(/^(?!__proto__$)[A-Za-z0-9_.:-]{1,128}$/, keyRule)

export const jsonValue = z.json('must be a value of JSON')

/** Values by key; null deletes a key. */
export const configurationChanges = z.preprocess(
  refuseProto(keyRule),
  z.record(configurationKey, jsonValue, 'must be an object of keys and values'),
)
