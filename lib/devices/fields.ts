/** Schemas of a device's fields, for every endpoint that writes them. */
import * as z from 'zod'
import { AppError } from '../errors.ts'
import { timeZoneName } from '../parameters.ts'

// Escaped character by character, so that the patterns mean the same in other engines that read the OpenAPI document.
const blanks = '\\u0009-\\u000d\\u0020\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff'
const controls = '\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029'
const linePattern = `^[${blanks}]*[^${controls}]*[${blanks}]*$`
const filledPattern = `^[${blanks}]*[^${controls}${blanks}][^${controls}]*[${blanks}]*$`

/** One line of text without control characters; blanks around it are removed. `linePattern` describes the text before that. */
const line = (max: number) =>
  z
    .string()
    .max(max, `must have at most ${max} characters`)
    .trim()
    .regex(/^[^\p{Cc}\p{Cs}\u2028\u2029]*$/u, 'must not hold control characters')
    .meta({ pattern: linePattern })

const optional = (max: number) => line(max).nullish()

export const description = {
  // libSQL ends the process when it reads a text with half a pair of surrogates, which only JSON can bring into it.
  description: z
    .string()
    .max(1024, 'must have at most 1024 characters')
    .overwrite((text) => text.toWellFormed())
    .nullish(),
  location: optional(256),
  timezone: timeZoneName.nullish().describe('IANA name, such as `Europe/Berlin`; null means UTC.'),
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

/** Seconds; null means the default of the settings. */
export const offlineAfter = z
  .int('must be a whole number of seconds')
  .min(1, 'must be 1 or more')
  .max(31_536_000, 'must be at most 31536000')
  .nullish()

/** Seconds that the previous key stays valid after a rotation. */
export const grace = z
  .int('must be a whole number of seconds')
  .min(0, 'must be 0 or more')
  .max(604_800, 'must be at most 604800')
  .default(86_400)

/** Longest life of a key with an end: ten years, s. */
const longestLifetimeS = 315_360_000

/** When a new key ends; neither of them: never. */
export const keyEnd = {
  ttl_s: z
    .int('must be a whole number of seconds')
    .min(1, 'must be 1 or more')
    .max(longestLifetimeS, `must be at most ${longestLifetimeS}`)
    .nullish(),
  expires_at: z.iso.datetime({ offset: true, error: 'must be a time of ISO 8601 with an offset' }).nullish(),
}

type KeyEnd = z.output<z.ZodObject<typeof keyEnd>>

/** The life of a key with an end. */
export interface KeyLife {
  /** Seconds, rounded up. */
  readonly lifetimeS: number
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/**
 * The life of a new key; undefined for a key without an end.
 * @param now milliseconds since the epoch.
 * @returns the reason when both are given, or the end is not in the next ten years.
 */
export function lifeOf({ ttl_s: ttl, expires_at: end }: KeyEnd, now: number): KeyLife | undefined | string {
  if (typeof end !== 'string')
    return typeof ttl === 'number' ? { lifetimeS: ttl, expiresAt: now + ttl * 1000 } : undefined
  if (typeof ttl === 'number') return 'cannot stand beside ttl_s'
  const expiresAt = Date.parse(end)
  const lifetimeS = Math.ceil((expiresAt - now) / 1000)
  if (lifetimeS < 1 || lifetimeS > longestLifetimeS) return 'must be in the next ten years'
  return { lifetimeS, expiresAt }
}

/** As {@link lifeOf}. @throws {AppError} VALIDATION_FAILED */
export function keyLife(body: KeyEnd, now: number): KeyLife | undefined {
  const life = lifeOf(body, now)
  if (typeof life !== 'string') return life
  throw new AppError('VALIDATION_FAILED', `The body is not valid: expires_at: ${life}.`, {
    details: [{ path: 'expires_at', message: life }],
  })
}

export const notAnObject = 'must be a JSON object'

type DescriptionBody = Partial<z.output<z.ZodObject<typeof description>>>

/** The fields of a body under the names of the service. */
export const toDescription = (body: DescriptionBody) => ({
  description: body.description,
  location: body.location,
  timezone: body.timezone,
  firmwareVersion: body.firmware_version,
  hardwareVersion: body.hardware_version,
})
