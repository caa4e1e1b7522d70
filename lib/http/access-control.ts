/** Who may call: access control of every endpoint, with the request limits that belong to it. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { AppError, type ErrorCode } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Tally } from '../tally.ts'
import type { AddressOf } from './address.ts'
import type { RequestContext } from './context.ts'
import { namesLoopback } from './host.ts'
import type { Limiter, LimitOutcome, RateLimit } from './limit/limiter.ts'
import type { Access } from './route.ts'

/** Who reads: anybody while reads are public, the operator, or a device, which may read only itself. */
export type Reader<Device> =
  | { readonly kind: 'public' | 'admin' }
  | { readonly kind: 'device'; readonly device: Device }

/** A key of the registry that a device registers itself with. */
export interface Enrollment {
  readonly keyId: number
  /** The only type that it may register; null for any. */
  readonly deviceType: string | null
}

/** The caller that a route with this access passes to its handler. */
export type CallerOf<A extends Access, Device> = A extends 'device'
  ? Device
  : A extends 'read'
    ? Reader<Device>
    : A extends 'enrol'
      ? Enrollment | undefined
      : undefined

/** Lets callers in, and resolves with who they are. @throws {AppError} for a caller who is refused. */
export type Admit<Caller> = (c: RequestContext) => Promise<Caller>

export interface AccessControlOptions<Device> {
  /** @throws {AppError} UNAUTHORIZED or FORBIDDEN */
  authenticate(apiKey: string): Promise<{ readonly device: Device }>
  limiter: Limiter
  /** Requests per window; 0 turns a limit off. */
  limits: {
    readonly devicePerMinute: number
    readonly telemetryPerMinute: number
    readonly registerPer5Minutes: number
    readonly ipPerMinute: number
  }
  addressOf: AddressOf
  log: Log
  /** Undefined: every admin call is refused. */
  adminToken: string | undefined
  /** May read metrics and nothing else; undefined: only an admin may. */
  metricsToken?: string | undefined
  /** Counts callers that were refused. */
  refusals?: Pick<Tally<RefusalKind>, 'add'> | undefined
  /** Those of the settings. */
  enrollmentKeys: readonly string[]
  /** Those of the registry. Without any key registration is closed, unless it is open to everybody. */
  enrollment: {
    /** Undefined for a key that is unknown. @throws {AppError} UNAUTHORIZED or FORBIDDEN for one that has ended. */
    admit(key: string): Promise<Enrollment | undefined>
    /** Whether any key may register a device. */
    any(): Promise<boolean>
  }
  /** `loopback`: open for requests whose Host is a loopback name or address; the others need a credential. */
  openRegistration: boolean | 'loopback'
  publicTelemetryReads: boolean | 'loopback'
}

const minuteMs = 60_000

const rateLimitsOf = (limits: AccessControlOptions<unknown>['limits']) =>
  ({
    requests: { name: 'device', limit: limits.devicePerMinute, windowMs: minuteMs, onFailure: 'open' },
    telemetry: { name: 'telemetry', limit: limits.telemetryPerMinute, windowMs: minuteMs, onFailure: 'open' },
    register: {
      name: 'register',
      limit: limits.registerPer5Minutes,
      windowMs: 5 * minuteMs,
      onFailure: 'closed',
    },
    address: { name: 'address', limit: limits.ipPerMinute, windowMs: minuteMs, onFailure: 'closed' },
  }) as const satisfies Record<string, RateLimit>

const digest = (text: string) => createHash('sha256').update(text).digest()

/** Compares a text with all secrets in constant time: the time must not tell which secret fits, or how much of it. */
const secretMatcher = (secrets: readonly string[]) => {
  const digests = secrets.map(digest)
  return (text: string) => {
    const given = digest(text)
    return digests.reduce((found, secret) => timingSafeEqual(secret, given) || found, false)
  }
}

const unauthorized = (message: string) => new AppError('UNAUTHORIZED', message)

/** @param needed what a request from anywhere else needs. */
const foreignHost = (needed: string) =>
  new AppError('FORBIDDEN', `${needed}: without, the Host header must name this computer, as localhost does.`)

/** The credential that a caller did not have, as metrics count it. */
export type RefusalKind =
  | 'device_key'
  | 'inactive_device'
  | 'admin_token'
  | 'metrics_token'
  | 'enrollment_key'
  | 'no_credential'

/** Codes of errors that refuse the caller, not the request. */
const refusals: ReadonlySet<ErrorCode> = new Set(['UNAUTHORIZED', 'FORBIDDEN'])

const isOpen = (setting: boolean | 'loopback', c: RequestContext): boolean =>
  setting === true || (setting === 'loopback' && namesLoopback(c))

/** `Bearer <token>`, or `admin <token>` of older clients. */
const bearerToken = (c: RequestContext): string | undefined =>
  /^(?:bearer|admin) +(\S+)$/i.exec(c.req.header('authorization') ?? '')?.[1]

/** Milliseconds until a request that was refused fits again; 0 when it was allowed. */
const delayOf = ({ allowed, resetAt }: LimitOutcome) => (allowed ? 0 : Math.max(1, resetAt - Date.now()))

export class AccessControl<Device extends { readonly id: number }> {
  readonly #options: AccessControlOptions<Device>
  readonly #rateLimits: ReturnType<typeof rateLimitsOf>
  readonly #isAdminToken: (text: string) => boolean
  readonly #isMetricsToken: (text: string) => boolean
  readonly #isEnrollmentKey: (text: string) => boolean

  constructor(options: AccessControlOptions<Device>) {
    this.#options = options
    this.#rateLimits = rateLimitsOf(options.limits)
    this.#isAdminToken = secretMatcher(options.adminToken === undefined ? [] : [options.adminToken])
    this.#isMetricsToken = secretMatcher(options.metricsToken === undefined ? [] : [options.metricsToken])
    this.#isEnrollmentKey = secretMatcher(options.enrollmentKeys)
  }

  /** The check that a route needs. @param limit for devices: count by the limit of telemetry, not by that of requests. */
  admit<A extends Access>(access: A, limit?: 'telemetry'): Admit<CallerOf<A, Device>> {
    const checks: { readonly [K in Access]: Admit<CallerOf<K, Device>> } = {
      none: (c) => this.#countAddress(c),
      device: (c) => this.#device(c, limit ?? 'requests'),
      read: (c) => this.#reader(c),
      admin: (c) => this.#admin(c),
      enrol: (c) => this.#enrol(c),
      metrics: (c) => this.#metrics(c),
    }
    return checks[access] as Admit<CallerOf<A, Device>>
  }

  /**
   * True when the call carries the admin token, false when it carries none.
   * @throws {AppError} UNAUTHORIZED for a wrong token, ADMIN_DISABLED when no token is configured.
   */
  async isAdmin(c: RequestContext): Promise<boolean> {
    if (c.req.header('authorization') === undefined) return false
    await this.#admin(c)
    return true
  }

  /**
   * Milliseconds by which to delay a message that a device sent over a way without responses (MQTT); 0 for no delay.
   * Counts the message by the limit of telemetry.
   */
  delayForDevice(deviceId: number): number | Promise<number> {
    const { telemetry } = this.#rateLimits
    if (telemetry.limit === 0) return 0
    const outcome = this.#options.limiter.take(telemetry, String(deviceId))
    return outcome instanceof Promise ? outcome.then(delayOf) : delayOf(outcome)
  }

  /** Every message passes here. The outcome is awaited only when it is a promise, because each await costs time. */
  async #device(c: RequestContext, limit: 'requests' | 'telemetry'): Promise<Device> {
    const apiKey = c.req.header('x-api-key')
    if (apiKey === undefined)
      return this.#refuse(
        c,
        'device_key',
        unauthorized('The X-API-Key header with the API key of a device is missing.'),
      )
    let device: Device
    try {
      device = (await this.#options.authenticate(apiKey)).device
    } catch (error) {
      return this.#refuse(c, 'device_key', error)
    }
    c.set('deviceId', device.id)
    const rateLimit = this.#rateLimits[limit]
    if (rateLimit.limit !== 0) {
      const outcome = this.#options.limiter.take(rateLimit, String(device.id))
      this.#apply(c, outcome instanceof Promise ? await outcome : outcome)
    }
    return device
  }

  async #reader(c: RequestContext): Promise<Reader<Device>> {
    const { publicTelemetryReads } = this.#options
    const isPublic = isOpen(publicTelemetryReads, c)
    if (c.req.header('x-api-key') !== undefined) {
      const device = await this.#device(c, 'requests')
      return isPublic ? { kind: 'public' } : { kind: 'device', device }
    }
    if (c.req.header('authorization') !== undefined) {
      await this.#admin(c)
      return { kind: 'admin' }
    }
    if (!isPublic) {
      const message = "Reading needs the device's X-API-Key or the admin token"
      await this.#refuse(
        c,
        'no_credential',
        publicTelemetryReads ? foreignHost(message) : unauthorized(`${message}.`),
      )
    }
    await this.#countAddress(c)
    return { kind: 'public' }
  }

  async #admin(c: RequestContext): Promise<undefined> {
    if (this.#options.adminToken === undefined)
      throw new AppError('ADMIN_DISABLED', 'No admin token is configured: set ADMIN_TOKEN.')
    const token = bearerToken(c)
    if (token === undefined || !this.#isAdminToken(token))
      await this.#refuse(c, 'admin_token', unauthorized('The admin token is missing or not valid.'))
    await this.#countAddress(c)
  }

  async #metrics(c: RequestContext): Promise<undefined> {
    if (this.#options.metricsToken === undefined) return this.#admin(c)
    const token = bearerToken(c) ?? ''
    // Both are compared always: the time must not tell which one fits.
    const [isAdmin, isMetrics] = [this.#isAdminToken(token), this.#isMetricsToken(token)]
    if (!isAdmin && !isMetrics)
      await this.#refuse(c, 'metrics_token', unauthorized('The token is missing or not valid.'))
    await this.#countAddress(c)
  }

  /** A key of the registry counts also where registration is open: an operator who gives one out wants to see its use. */
  async #enrol(c: RequestContext): Promise<Enrollment | undefined> {
    const { openRegistration, addressOf } = this.#options
    const key = c.req.header('x-enrollment-key')
    const ofSettings = key !== undefined && this.#isEnrollmentKey(key)
    const enrollment = key === undefined || ofSettings ? undefined : await this.#enrollment(c, key)
    if (!isOpen(openRegistration, c)) {
      if (openRegistration && key === undefined)
        await this.#refuse(c, 'enrollment_key', foreignHost('Registering needs the X-Enrollment-Key'))
      if (enrollment === undefined && !ofSettings) await this.#refuseEnrollment(c)
      // Beyond the limit a right key is refused as well: otherwise guessing could go on until a key is accepted.
      await this.#countAddress(c)
    }
    await this.#count(c, this.#rateLimits.register, addressOf(c))
    return enrollment
  }

  async #enrollment(c: RequestContext, key: string): Promise<Enrollment | undefined> {
    try {
      return await this.#options.enrollment.admit(key)
    } catch (error) {
      return this.#refuse(c, 'enrollment_key', error)
    }
  }

  async #refuseEnrollment(c: RequestContext): Promise<never> {
    const { enrollmentKeys, enrollment } = this.#options
    if (enrollmentKeys.length === 0 && !(await enrollment.any()))
      throw new AppError(
        'ENROLLMENT_DISABLED',
        'Registration is closed: make an enrolment key, or set ENROLLMENT_KEY or OPEN_REGISTRATION=true.',
      )
    return this.#refuse(
      c,
      'enrollment_key',
      unauthorized('The X-Enrollment-Key header is missing or not valid.'),
    )
  }

  #countAddress(c: RequestContext): Promise<undefined> {
    return this.#count(c, this.#rateLimits.address, this.#options.addressOf(c))
  }

  async #count(c: RequestContext, rateLimit: RateLimit, subject: string): Promise<undefined> {
    if (rateLimit.limit !== 0) this.#apply(c, await this.#options.limiter.take(rateLimit, subject))
  }

  /** @throws {AppError} RATE_LIMITED */
  #apply(c: RequestContext, outcome: LimitOutcome): void {
    c.set('limit', outcome)
    if (outcome.allowed) return
    const retryAfterS = Math.max(1, Math.ceil((outcome.resetAt - Date.now()) / 1000))
    throw new AppError('RATE_LIMITED', `Too many requests: try again in ${retryAfterS} s.`, { retryAfterS })
  }

  /** Refuses a caller. Failures count per address, so that guessing is slow, and the limit bounds their lines in the log. */
  async #refuse(c: RequestContext, kind: RefusalKind, error: unknown): Promise<never> {
    if (!(error instanceof AppError) || !refusals.has(error.code)) throw error
    this.#options.refusals?.add(
      kind === 'device_key' && error.code === 'FORBIDDEN' ? 'inactive_device' : kind,
    )
    if (error.code === 'UNAUTHORIZED') await this.#countAddress(c)
    const { addressOf, log } = this.#options
    const { code, message, logFields } = error
    log.warn('caller refused', {
      request_id: c.get('requestId'),
      address: addressOf(c),
      code,
      reason: message,
      ...logFields,
    })
    throw error
  }
}
