/** Who may call: one gate for every endpoint. Digests are compared in constant time; failures are counted per address. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { AppError } from '../errors.ts'
import type { AddressOf } from './address.ts'
import { type Admit, type Call, headerOf } from './endpoint.ts'
import type { Limiter, Outcome, Rule } from './limit.ts'

/** Who reads: anybody while reads are public, the operator, or a device, which may read only itself. */
export type Reader<D> =
  | { readonly kind: 'public' | 'admin' }
  | { readonly kind: 'device'; readonly device: D }

export interface Gate<D> {
  /** Lets the device of the `X-API-Key` in, and counts the request by the rule. */
  device(rule: 'requests' | 'telemetry'): Admit<D>
  /** Lets readers in. */
  read(): Admit<Reader<D>>
  /** Lets the operator in. */
  admin(): Admit<void>
  /** Lets those in who may register a device. */
  enrol(): Admit<void>
  /** Open to anybody, counted per address. */
  open(): Admit<void>
  /**
   * True when the call carries the admin token, false when it carries none.
   * @throws {AppError} UNAUTHORIZED for a wrong one.
   */
  isAdmin(c: Call): Promise<boolean>
  /** Milliseconds to hold back a message of a device that came by a way without answers; 0 lets it pass. */
  holdBack(deviceId: number): number | Promise<number>
}

export interface GateOptions<D> {
  /** @throws {AppError} UNAUTHORIZED or FORBIDDEN */
  authenticate(apiKey: string): Promise<{ readonly device: D }>
  limiter: Limiter
  /** Requests per window; 0 turns a limit off. */
  limits: {
    readonly devicePerMinute: number
    readonly telemetryPerMinute: number
    readonly registerPer5Minutes: number
    readonly ipPerMinute: number
  }
  addressOf: AddressOf
  adminToken: string | undefined
  enrollmentKeys: readonly string[]
  openRegistration: boolean
  publicTelemetryReads: boolean
}

const digest = (text: string) => createHash('sha256').update(text).digest()

/** Compares with every accepted secret, so that the time tells neither which nor how much of it fits. */
const matcher = (secrets: readonly string[]) => {
  const digests = secrets.map(digest)
  return (text: string) => {
    const given = digest(text)
    return digests.reduce((found, one) => timingSafeEqual(one, given) || found, false)
  }
}

const minute = 60_000

export function createGate<D extends { readonly id: number }>(options: GateOptions<D>): Gate<D> {
  const { authenticate, limiter, limits, addressOf, adminToken } = options
  const { enrollmentKeys, openRegistration, publicTelemetryReads } = options
  const rules = {
    requests: { name: 'device', limit: limits.devicePerMinute, windowMs: minute, onFailure: 'open' },
    telemetry: { name: 'telemetry', limit: limits.telemetryPerMinute, windowMs: minute, onFailure: 'open' },
    register: {
      name: 'register',
      limit: limits.registerPer5Minutes,
      windowMs: 5 * minute,
      onFailure: 'closed',
    },
    address: { name: 'address', limit: limits.ipPerMinute, windowMs: minute, onFailure: 'closed' },
  } as const satisfies Record<string, Rule>
  const isAdminToken = matcher(adminToken === undefined ? [] : [adminToken])
  const isEnrollmentKey = matcher(enrollmentKeys)

  const refuse = (outcome: Outcome): never => {
    const retryAfterS = Math.max(1, Math.ceil((outcome.resetAt - Date.now()) / 1000))
    throw new AppError('RATE_LIMITED', `Too many requests: try again in ${retryAfterS} s.`, { retryAfterS })
  }

  const timeToWait = ({ allowed, resetAt }: Outcome) => (allowed ? 0 : Math.max(1, resetAt - Date.now()))

  const note = (c: Call, outcome: Outcome) => {
    c.set('limit', outcome)
    if (!outcome.allowed) refuse(outcome)
  }

  const count = async (c: Call, rule: Rule, subject: string) => {
    if (rule.limit !== 0) note(c, await limiter.take(rule, subject))
  }

  /** Guessing is slowed down per address: the answer to a failure is itself limited. */
  const fail = async (c: Call, error: unknown): Promise<never> => {
    if (error instanceof AppError && error.code === 'UNAUTHORIZED')
      await count(c, rules.address, addressOf(c))
    throw error
  }

  const admitDevice =
    (rule: 'requests' | 'telemetry'): Admit<D> =>
    // What every message goes through: each async function that it calls would cost as much as it does.
    async (c) => {
      const apiKey = headerOf(c, 'x-api-key')
      if (apiKey === undefined)
        return fail(
          c,
          new AppError('UNAUTHORIZED', 'The X-API-Key header with the API key of a device is missing.'),
        )
      let device: D
      try {
        device = (await authenticate(apiKey)).device
      } catch (error) {
        return fail(c, error)
      }
      c.set('deviceId', device.id)
      if (rules[rule].limit !== 0) {
        const outcome = limiter.take(rules[rule], String(device.id))
        note(c, outcome instanceof Promise ? await outcome : outcome)
      }
      return device
    }

  /** `Bearer <token>`, or the predecessor's `admin <token>`. */
  const bearer = (c: Call): string | undefined =>
    /^(?:bearer|admin) +(\S+)$/i.exec(headerOf(c, 'authorization') ?? '')?.[1]

  const mustBeAdmin = async (c: Call) => {
    if (adminToken === undefined) {
      throw new AppError('ADMIN_DISABLED', 'No admin token is configured: set ADMIN_TOKEN.')
    }
    const token = bearer(c)
    if (token === undefined || !isAdminToken(token)) {
      await fail(c, new AppError('UNAUTHORIZED', 'The admin token is missing or not valid.'))
    }
  }

  return {
    async isAdmin(c) {
      if (headerOf(c, 'authorization') === undefined) return false
      await mustBeAdmin(c)
      await count(c, rules.address, addressOf(c))
      return true
    },

    device: admitDevice,

    read() {
      const admitReader = admitDevice('requests')
      return async (c) => {
        if (headerOf(c, 'x-api-key') !== undefined) {
          const device = await admitReader(c)
          return publicTelemetryReads ? { kind: 'public' } : { kind: 'device', device }
        }
        if (headerOf(c, 'authorization') !== undefined) {
          await mustBeAdmin(c)
          await count(c, rules.address, addressOf(c))
          return { kind: 'admin' }
        }
        if (!publicTelemetryReads) {
          await fail(
            c,
            new AppError('UNAUTHORIZED', "Reading needs the device's X-API-Key or the admin token."),
          )
        }
        await count(c, rules.address, addressOf(c))
        return { kind: 'public' }
      }
    },

    admin: () => async (c) => {
      await mustBeAdmin(c)
      await count(c, rules.address, addressOf(c))
    },

    enrol: () => async (c) => {
      if (!openRegistration) {
        if (enrollmentKeys.length === 0) {
          throw new AppError(
            'ENROLLMENT_DISABLED',
            'Registration is closed: set ENROLLMENT_KEY, or OPEN_REGISTRATION=true.',
          )
        }
        if (!isEnrollmentKey(headerOf(c, 'x-enrollment-key') ?? '')) {
          await fail(c, new AppError('UNAUTHORIZED', 'The X-Enrollment-Key header is missing or not valid.'))
        }
        // A right key past the limit is refused as a wrong one is: else it could be found by guessing on.
        await count(c, rules.address, addressOf(c))
      }
      await count(c, rules.register, addressOf(c))
    },

    open: () => (c) => count(c, rules.address, addressOf(c)),

    holdBack(deviceId) {
      if (rules.telemetry.limit === 0) return 0
      const outcome = limiter.take(rules.telemetry, String(deviceId))
      return outcome instanceof Promise ? outcome.then(timeToWait) : timeToWait(outcome)
    },
  }
}
