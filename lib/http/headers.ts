/** Headers of responses. */
import type { LimitOutcome } from './limit/limiter.ts'

/** The headers of every response, and, where given, its content type and the state of its request limit. */
export function responseHeaders(
  requestId: string,
  contentType?: string,
  limit?: LimitOutcome,
): Record<string, string> {
  const headers: Record<string, string> = {
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
    'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
    'Referrer-Policy': 'no-referrer',
    'X-Request-Id': requestId,
  }
  if (contentType !== undefined) headers['Content-Type'] = contentType
  if (limit !== undefined) {
    headers['RateLimit-Limit'] = String(limit.limit)
    headers['RateLimit-Remaining'] = String(limit.remaining)
    headers['RateLimit-Reset'] = String(Math.max(0, Math.ceil((limit.resetAt - Date.now()) / 1000)))
  }
  return headers
}
