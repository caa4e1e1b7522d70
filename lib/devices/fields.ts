/** What may be written of a device, over whichever endpoint. */
import * as z from 'zod'

/** One line of text: no control characters, no blanks around it. */
const line = (max: number) =>
  z
    .string()
    .trim()
    .max(max, `must have at most ${max} characters`)
    .regex(/^[^\p{Cc}\p{Cs}\u2028\u2029]*$/u, 'must not hold control characters')

const optional = (max: number) => line(max).nullish()

export const description = {
  description: z.string().max(1024, 'must have at most 1024 characters').nullish(),
  location: optional(256),
  firmware_version: optional(64),
  hardware_version: optional(64),
}

export const identity = {
  name: line(128).min(1, 'must not be empty'),
  device_type: line(64).min(1, 'must not be empty'),
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
