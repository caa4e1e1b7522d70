/** Who may call: one gate for every endpoint. Digests are compared in constant time; failures are counted per address. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import { AppError } from '../errors.ts'
import type { AddressOf } from './address.ts'
import type { Call, HttpEnv } from './endpoint.ts'
import type { Limiter, Outcome, Rule } from './limit.ts'

/** Who reads: anybody while reads are public, the operator, or a device, which may read only itself. */
export type Reader<D> =
  | { readonly kind: 'public' | 'admin' }
  | { readonly kind: 'device'; readonly device: D }

export type DeviceEnv<D> = HttpEnv & { Variables: { device: D } }
export type ReaderEnv<D> = HttpEnv & { Variables: { reader: Reader<D> } }

export interface Gate<D> {
  /**
   * The device of the `X-API-Key`; counts the request by the rule.
   * @throws {AppError} UNAUTHORIZED, FORBIDDEN or RATE_LIMITED
   */
  admit(c: Call, rule: 'requests' | 'telemetry'): Promise<D>
  /** Lets the device of the `X-API-Key` in, as `c.get('device')`, and counts the request by the rule. */
  device(rule: 'requests' | 'telemetry'): MiddlewareHandler<DeviceEnv<D>>
  /** Lets readers in, as `c.get('reader')`. */
  read(): MiddlewareHandler<ReaderEnv<D>>
  admin(): MiddlewareHandler<HttpEnv>
  /** Lets those in who may register a device. */
  enrol(): MiddlewareHandler<HttpEnv>
  /** Open to anybody, counted per address. */
  open(): MiddlewareHandler<HttpEnv>
  /**
   * True when the call carries the admin token, false when it carries none.
   * @throws {AppError} UNAUTHORIZED for a wrong one.
   */
  isAdmin(c: Call): Promise<boolean>
  /** Milliseconds to hold back a message of a device that came by a way without answers; 0 lets it pass. */
  holdBack(deviceId: number): Promise<number>
}

export interface GateOptions<D> {
  /** @throws {AppError} UNAUTHORIZED or FORBIDDEN */
  authenticate(apiKey: string): Promise<D>
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

  // What every message goes through: each async function that it calls would cost as much as it does.
  const admit = async (c: Call, rule: 'requests' | 'telemetry'): Promise<D> => {
    const apiKey = c.req.header('x-api-key')
    if (apiKey === undefined)
      return fail(
        c,
        new AppError('UNAUTHORIZED', 'The X-API-Key header with the API key of a device is missing.'),
      )
    let device: D
    try {
      device = await authenticate(apiKey)
    } catch (error) {
      return fail(c, error)
    }
    c.set('deviceId', device.id)
    if (rules[rule].limit !== 0) note(c, await limiter.take(rules[rule], String(device.id)))
    return device
  }

  /** `Bearer <token>`, or the predecessor's `admin <token>`. */
  const bearer = (c: Call): string | undefined =>
    /^(?:bearer|admin) +(\S+)$/i.exec(c.req.header('authorization') ?? '')?.[1]

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
      if (c.req.header('authorization') === undefined) return false
      await mustBeAdmin(c)
      await count(c, rules.address, addressOf(c))
      return true
    },

    admit,

    device: (rule) =>
      async function device(c, next) {
        c.set('device', await admit(c, rule))
        await next()
      },

    read: () =>
      async function read(c, next) {
        if (c.req.header('x-api-key') !== undefined) {
          const device = await admit(c, 'requests')
          c.set('reader', publicTelemetryReads ? { kind: 'public' } : { kind: 'device', device })
        } else if (c.req.header('authorization') !== undefined) {
          await mustBeAdmin(c)
          await count(c, rules.address, addressOf(c))
          c.set('reader', { kind: 'admin' })
        } else {
          if (!publicTelemetryReads) {
            await fail(
              c,
              new AppError('UNAUTHORIZED', "Reading needs the device's X-API-Key or the admin token."),
            )
          }
          await count(c, rules.address, addressOf(c))
          c.set('reader', { kind: 'public' })
        }
        await next()
      },

    admin: () =>
      async function admin(c, next) {
        await mustBeAdmin(c)
        await count(c, rules.address, addressOf(c))
        await next()
      },

    enrol: () =>
      async function enrol(c, next) {
        if (!openRegistration) {
          if (enrollmentKeys.length === 0) {
            throw new AppError(
              'ENROLLMENT_DISABLED',
              'Registration is closed: set ENROLLMENT_KEY, or OPEN_REGISTRATION=true.',
            )
          }
          if (!isEnrollmentKey(c.req.header('x-enrollment-key') ?? '')) {
            await fail(
              c,
              new AppError('UNAUTHORIZED', 'The X-Enrollment-Key header is missing or not valid.'),
            )
          }
          // A right key past the limit is refused as a wrong one is: else it could be found by guessing on.
          await count(c, rules.address, addressOf(c))
        }
        await count(c, rules.register, addressOf(c))
        await next()
      },

    open: () =>
      async function open(c, next) {
        await count(c, rules.address, addressOf(c))
        await next()
      },

    async holdBack(deviceId) {
      if (rules.telemetry.limit === 0) return 0
      const outcome = await limiter.take(rules.telemetry, String(deviceId))
      return outcome.allowed ? 0 : Math.max(1, outcome.resetAt - Date.now())
    },
  }
}
