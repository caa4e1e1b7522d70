/** Errors on HTTP: the status of each error code, and the one shape of every error response. */
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { AppError, ErrorCode, ErrorDetail } from '../errors.ts'

/** The HTTP status of each error code. */
export const statusOf: Readonly<Record<ErrorCode, ContentfulStatusCode>> = {
  BAD_REQUEST: 400,
  MALFORMED_JSON: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  CONFLICT: 409,
  PRECONDITION_FAILED: 412,
  PAYLOAD_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  VALIDATION_FAILED: 422,
  NOT_NUMERIC: 422,
  TOO_OLD: 422,
  BATCH_TOO_LONG: 422,
  RATE_LIMITED: 429,
  ADMIN_DISABLED: 503,
  ENROLLMENT_DISABLED: 503,
  WEBHOOKS_DISABLED: 503,
  UNAVAILABLE: 503,
  INTERNAL: 500,
  NOT_IMPLEMENTED: 501,
}

/** Seconds to wait for a feature that is switched off: an operator has to act first. */
const disabledRetryS = 3600

/** The headers that an error response adds. */
export function errorHeaders({ code, retryAfterS }: AppError): Record<string, string> {
  const status = statusOf[code]
  if (status === 401) return { 'WWW-Authenticate': 'Bearer' }
  const seconds = retryAfterS ?? (status === 503 ? disabledRetryS : undefined)
  return seconds === undefined ? {} : { 'Retry-After': String(Math.max(1, Math.ceil(seconds))) }
}

export interface ErrorBody {
  error: { code: ErrorCode; message: string; request_id: string; details?: ErrorDetail[] }
}

/** What a client is told of an error that nobody expected. */
export const internalMessage = 'Something went wrong here; the request id helps to find out what.'

/** The body of every error response, also of those that no endpoint makes. */
export const errorBody = (error: AppError, requestId: string): ErrorBody => ({
  error: {
    code: error.code,
    message: error.message,
    request_id: requestId,
    ...(error.details === undefined ? {} : { details: error.details }),
  },
})
