/**
 * What can go wrong, as values the callers of the services can name. This file knows nothing of HTTP or MQTT:
 * each front door has one table that turns a code into its own status.
 */
export const errorCodes = [
  'BAD_REQUEST',
  'MALFORMED_JSON',
  'UNAUTHORIZED',
  'FORBIDDEN',
  'NOT_FOUND',
  'METHOD_NOT_ALLOWED',
  'CONFLICT',
  'PRECONDITION_FAILED',
  'PAYLOAD_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
  'VALIDATION_FAILED',
  'TOO_OLD',
  'RATE_LIMITED',
  'ADMIN_DISABLED',
  'ENROLLMENT_DISABLED',
  'UNAVAILABLE',
  'INTERNAL',
] as const

export type ErrorCode = (typeof errorCodes)[number]

/** One field that was refused: `path` in dotted form (`data.temperature`, `[3].values`), empty for the whole body. */
export interface ErrorDetail {
  path: string
  message: string
}

/** An error whose message may be shown to whoever made the request: it never carries a secret or a library's words. */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorCode
  readonly details: ErrorDetail[] | undefined
  /** Seconds after which trying again makes sense, a whole number ≥ 1. */
  readonly retryAfterS: number | undefined

  constructor(
    code: ErrorCode,
    message: string,
    options: { details?: ErrorDetail[]; retryAfterS?: number; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.details = options.details
    this.retryAfterS = options.retryAfterS
  }
}

/** What a database says when others hold it for longer than it waits; the same again may well succeed. */
const busy: ReadonlySet<unknown> = new Set(['SQLITE_BUSY', 'SQLITE_LOCKED'])

/** An error of ours in what was thrown or in what caused it: libraries wrap what their clients throw. */
export function knownError(error: unknown): AppError | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof AppError) return at
    if (busy.has((at as { code?: unknown }).code))
      return new AppError('UNAVAILABLE', 'The database is busy at the moment.', { retryAfterS: 2, cause: at })
  }
  return undefined
}
