/** Calls of the API with the token of the session. Failures are values, because each page has to show them. */
import { session } from './session.ts'

/** Why a call failed, in the words of the server where it answered. */
export interface ApiError {
  /** 0 when no answer came. */
  readonly status: number
  readonly code: string
  /** A sentence for people. */
  readonly message: string
  readonly details: readonly { readonly path: string; readonly message: string }[]
  readonly requestId: string | undefined
  /** Seconds to wait before another try, where the server says so. */
  readonly retryAfterS: number | undefined
}

export type Result<T> =
  | { readonly ok: true; readonly value: T; readonly headers: Headers }
  | { readonly ok: false; readonly error: ApiError }

export type Query = Readonly<Record<string, string | number | boolean | undefined>>

export interface CallOptions {
  /** Undefined values are left out. */
  readonly query?: Query
  /** Sent as JSON; a string is sent unchanged as `contentType`. */
  readonly body?: unknown
  readonly contentType?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
  /** Answers with the text of the body instead of its JSON, for CSV. */
  readonly as?: 'json' | 'text'
  /** A status that is an answer too, beside those of success. */
  readonly alsoOk?: number
}

const searchOf = (query: Query = {}) => {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value))
  return search.size > 0 ? `?${search}` : ''
}

const unreachable = (cause: unknown): ApiError => ({
  status: 0,
  code: cause instanceof DOMException && cause.name === 'AbortError' ? 'ABORTED' : 'UNREACHABLE',
  message: 'The server does not answer.',
  details: [],
  requestId: undefined,
  retryAfterS: undefined,
})

/** The error of an answer; also of one that a proxy gave in another shape. */
export async function errorOf(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => undefined)) as
    | { error?: { code?: string; message?: string; details?: ApiError['details']; request_id?: string } }
    | undefined
  const retryAfter = Number(response.headers.get('retry-after'))
  return {
    status: response.status,
    code: body?.error?.code ?? `HTTP_${response.status}`,
    message: body?.error?.message ?? `The server answered ${response.status}.`,
    details: body?.error?.details ?? [],
    requestId: body?.error?.request_id ?? response.headers.get('x-request-id') ?? undefined,
    retryAfterS: retryAfter > 0 ? retryAfter : undefined,
  }
}

/** The headers that say who calls. */
export const credential = (): Record<string, string> => {
  const token = session.token.value
  return token === undefined ? {} : { Authorization: `Bearer ${token}` }
}

/**
 * Calls the API. A token that is no longer valid ends the session, which shows the sign-in.
 * @param path behind `/api/v1/`, or from the root of the server when it begins with a slash: `/health`.
 */
export async function call<T>(method: string, path: string, options: CallOptions = {}): Promise<Result<T>> {
  const { query, body, contentType = 'application/json', headers, signal, as = 'json', alsoOk } = options
  // Relative to the page, which may be below a path of a proxy.
  const address = `${path.startsWith('/') ? path.slice(1) : `api/v1/${path}`}${searchOf(query)}`
  let response: Response
  try {
    response = await fetch(address, {
      method,
      headers: {
        ...credential(),
        ...(body === undefined ? {} : { 'Content-Type': contentType }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
      credentials: 'omit',
    })
    if (response.ok || response.status === alsoOk) {
      const value = (as === 'text' ? await response.text() : await response.json()) as T
      return { ok: true, value, headers: response.headers }
    }
  } catch (cause) {
    return { ok: false, error: unreachable(cause) }
  }
  const error = await errorOf(response)
  if (error.status === 401) session.end('expired')
  return { ok: false, error }
}

export const get = <T>(path: string, query?: Query, options?: CallOptions) =>
  call<T>('GET', path, { ...options, ...(query === undefined ? {} : { query }) })
export const post = <T>(path: string, body?: unknown, options?: CallOptions) =>
  call<T>('POST', path, { ...options, ...(body === undefined ? {} : { body }) })
export const put = <T>(path: string, body: unknown, options?: CallOptions) =>
  call<T>('PUT', path, { ...options, body })
export const remove = <T>(path: string, query?: Query, options?: CallOptions) =>
  call<T>('DELETE', path, { ...options, ...(query === undefined ? {} : { query }) })
