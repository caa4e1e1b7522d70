/** Schemas of commands and answers, for every endpoint that takes them. */
import * as z from 'zod'
import { answerStates, channels, defaultTtlS, maxTtlS, mostAttempts } from './command.ts'

const controls = '\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029'
const namePattern = `^[^${controls}]{1,128}$`

/** What the device is to do. */
export const commandName = z
  .string()
  .regex(/^[^\p{Cc}\p{Cs}\u2028\u2029]{1,128}$/u, 'must have 1 to 128 characters and no control characters')
  .meta({ pattern: namePattern })

export const params = z.json('must be a value of JSON').nullish()

export const channel = z.enum(channels, `must be one of ${channels.join(', ')}`).nullish()

/** Seconds. */
export const ttl = z
  .int('must be a whole number of seconds')
  .min(1, 'must be 1 or more')
  .max(maxTtlS, `must be at most ${maxTtlS}`)
  .default(defaultTtlS)

export const maxAttempts = z
  .int('must be a whole number')
  .min(1, 'must be 1 or more')
  .max(mostAttempts, `must be at most ${mostAttempts}`)
  .default(1)

/** A new command; fleet commands have the same fields. */
export const newCommand = {
  command: commandName,
  params,
  channel,
  ttl_s: ttl,
  max_attempts: maxAttempts,
}

/** A sentence for each field, for the documentation. */
export const newCommandDescriptions = {
  command: 'What the device is to do.',
  params: 'Any value of JSON, for the device.',
  channel: 'The last level of the topic, for devices that subscribe to `commands/control` and the like.',
  ttl_s: 'Seconds until it expires: the device has to answer before.',
  max_attempts: 'Deliveries that may be made while the device does not answer.',
}

export const answerState = z.enum(answerStates, `must be one of ${answerStates.join(', ')}`)

export const commandId = z.string().regex(/^[A-Za-z0-9-]{1,64}$/, 'is no id of a command')
