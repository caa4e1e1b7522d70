/** What may be written of a device, over whichever endpoint. */
import * as z from 'zod'

// What trim() takes off, and what a line may not hold, as every engine of regular expressions reads it.
const blanks = '\\u0009-\\u000d\\u0020\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff'
const controls = '\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029'
const linePattern = `^[${blanks}]*[^${controls}]*[${blanks}]*$`
const filledPattern = `^[${blanks}]*[^${controls}${blanks}][^${controls}]*[${blanks}]*$`

/** One line of text: no control characters, no blanks around it. The pattern says it of the text before it is trimmed. */
const line = (max: number) =>
  z
    .string()
    .max(max, `must have at most ${max} characters`)
    .trim()
    .regex(/^[^\p{Cc}\p{Cs}\u2028\u2029]*$/u, 'must not hold control characters')
    .meta({ pattern: linePattern })

const optional = (max: number) => line(max).nullish()

export const description = {
  description: z.string().max(1024, 'must have at most 1024 characters').nullish(),
  location: optional(256),
  firmware_version: optional(64),
  hardware_version: optional(64),
}

export const identity = {
  name: line(128).min(1, 'must not be empty').meta({ pattern: filledPattern }),
  device_type: line(64).min(1, 'must not be empty').meta({ pattern: filledPattern }),
}

export const deviceStatus = z.enum(
  ['active', 'inactive', 'maintenance'],
  'must be active, inactive or maintenance',
)

/** Seconds; null takes the default of the settings. */
export const offlineAfter = z
  .int('must be a whole number of seconds')
  .min(1, 'must be 1 or more')
  .max(31_536_000, 'must be at most 31536000')
  .nullish()

/** Seconds that the key before stays valid after a rotation. */
export const grace = z
  .int('must be a whole number of seconds')
  .min(0, 'must be 0 or more')
  .max(604_800, 'must be at most 604800')
  .default(86_400)

export const notAnObject = 'must be a JSON object'

type Given = Partial<z.output<z.ZodObject<typeof description>>>

/** The fields that were given, by the names of the service. */
export const toDescription = (given: Given) => ({
  description: given.description,
  location: given.location,
  firmwareVersion: given.firmware_version,
  hardwareVersion: given.hardware_version,
})
