/** How a libSQL server is spoken to: every request ends in time, and a server that is away is told as such. */
import { AppError } from '../errors.ts'

/** What was wrong with the server: `NETWORK_ECONNREFUSED`, `HTTP_503`. */
class ServerFault extends Error {
  override readonly name = 'ServerFault'
  readonly code: string
  constructor(code: string) {
    super(`libSQL server: ${code}`)
    this.code = code
  }
}

/** Below the 10 s that a function has, ms. */
const timeoutMs = 5000

const away = (code: string) =>
  new AppError('UNAVAILABLE', 'The database cannot be used at the moment.', {
    retryAfterS: 2,
    cause: new ServerFault(code),
  })

const codeOf = (error: unknown): string => {
  const { code, name, cause } = error as { code?: unknown; name?: string; cause?: unknown }
  if (typeof code === 'string') return code
  return cause instanceof Error ? codeOf(cause) : (name ?? 'UNKNOWN')
}

/** A `fetch` for clients of the server. @throws {AppError} UNAVAILABLE when nothing answers within 5 s, or with 5xx. */
export async function serverFetch(request: Request): Promise<Response> {
  const signal = AbortSignal.any([request.signal, AbortSignal.timeout(timeoutMs)])
  const response = await fetch(request, { signal }).catch((error: unknown) => {
    throw away(`NETWORK_${codeOf(error).toUpperCase()}`)
  })
  if (response.status >= 500) throw away(`HTTP_${response.status}`)
  return response
}
