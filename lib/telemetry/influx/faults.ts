/** Failures of InfluxDB: their codes, and whether the same request may succeed later. */
import { HttpError } from '@influxdata/influxdb-client'
import type { AppError } from '../../errors.ts'
import { unavailable } from '../unavailable.ts'

/** Carries only a code such as `HTTP_503` or `ECONNREFUSED`, because the server's own words can contain stored values. */
export class InfluxFault extends Error {
  override readonly name = 'InfluxFault'
  readonly code: string
  constructor(error: unknown) {
    const { code, name } = error as { code?: unknown; name?: string }
    const word = error instanceof HttpError ? `HTTP_${error.statusCode}` : String(code ?? name ?? 'UNKNOWN')
    super(`InfluxDB: ${word}`)
    this.code = word
  }
}

/** Seconds, 2–3600. The header may be a number or a date; the client library understands only one of them. */
const retryAfterOf = (error: unknown): number => {
  const header = error instanceof HttpError ? String(error.headers?.['retry-after'] ?? '') : ''
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000
  return Math.min(3600, Math.max(2, Math.ceil(seconds || 0)))
}

/** The same request may succeed later, after the time that the server asks for. */
export const unavailableFor = (error: unknown): AppError =>
  unavailable(new InfluxFault(error), retryAfterOf(error))

/** InfluxDB refuses the content of the request: the same content would be refused again. */
export const isRefusal = (error: unknown): boolean =>
  error instanceof HttpError && [400, 413, 422].includes(error.statusCode)
