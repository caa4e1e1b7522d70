/**
 * The errors of the services, as values that callers can tell apart. This file knows nothing of HTTP, MQTT or SQL: HTTP has
 * one table from a code to a status, and lib/libsql turns errors of the database into these.
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
  'NOT_NUMERIC',
  'TOO_OLD',
  'BATCH_TOO_LONG',
  'RATE_LIMITED',
  'ADMIN_DISABLED',
  'ENROLLMENT_DISABLED',
  'WEBHOOKS_DISABLED',
  'UNAVAILABLE',
  'INTERNAL',
  'NOT_IMPLEMENTED',
] as const

export type ErrorCode = (typeof errorCodes)[number]

/** One refused field: `path` in dotted form (`data.temperature`, `[3].values`), empty for the whole body. */
export interface ErrorDetail {
  path: string
  message: string
}

/** An error whose message the client may see: it never holds a secret or the text of a library's error. */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorCode
  readonly details: ErrorDetail[] | undefined
  /** Seconds until a retry makes sense, a whole number ≥ 1. */
  readonly retryAfterS: number | undefined
  /** What the log says of it beside the message, and no client sees: an id, the prefix of a key, never a secret. */
  readonly logFields: Readonly<Record<string, unknown>> | undefined

  constructor(
    code: ErrorCode,
    message: string,
    options: {
      details?: ErrorDetail[]
      retryAfterS?: number
      logFields?: Readonly<Record<string, unknown>>
      cause?: unknown
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.details = options.details
    this.retryAfterS = options.retryAfterS
    this.logFields = options.logFields
  }
}

/** The {@link AppError} in an error or among its causes: libraries wrap the errors that their clients throw. */
export function knownError(error: unknown): AppError | undefined {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof AppError) return at
  return undefined
}

/** Codes of Node, of libraries and of this file: `ECONNREFUSED`, `SQLITE_FULL`, `UNAVAILABLE`. */
const codeShape = /^[A-Z][A-Z0-9_]+$/

/** The code of an error, or else of the nearest of its causes that has one. */
export function errorCode(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code } = at as { code?: unknown }
    if (typeof code === 'string' && codeShape.test(code)) return code
  }
  return undefined
}
