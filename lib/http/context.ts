/** The context of a request, as all shared parts of HTTP see it, whether it came from Node or from Lambda. */
import type { LimitOutcome } from './limit/limiter.ts'

/** What the HTTP server passes beside the request: Node its request, or the connection of a plain one; Lambda its event. */
export interface Bindings {
  incoming?: {
    socket: { remoteAddress?: string | undefined }
    method?: string | undefined
    url?: string | undefined
  }
  requestContext?: { http?: { sourceIp?: string } }
}

/** What Hono's `c` carries for one request. */
export interface HttpEnv {
  Bindings: Bindings
  Variables: {
    requestId: string
    /** Headers of the response beside those that every response has; add to them before `reply`. */
    headers: Record<string, string>
    /** Outcome of the last request limit that was counted, for the `RateLimit-*` headers. */
    limit: LimitOutcome | undefined
    /** For the log line. */
    deviceId: number | undefined
  }
}

/** The part of Hono's context that the shared parts use: the context of every endpoint fits. */
export interface RequestContext {
  readonly req: {
    readonly raw: Request
    readonly path: string
    header(name: string): string | undefined
    query(): Record<string, string>
    query(name: string): string | undefined
    param(name: string): string | undefined
  }
  readonly env: Bindings
  /** The body as it was sent, where it has come as a whole. It is taken once: it need not stay in memory until the answer. */
  readonly takeBody?: () => Uint8Array
  get<Name extends keyof HttpEnv['Variables']>(name: Name): HttpEnv['Variables'][Name]
  set(name: 'deviceId', value: number): void
  set(name: 'limit', value: LimitOutcome): void
  /** Writes an answer where there is no Hono to hand a `Response` to; undefined under Hono. */
  readonly respond?: (
    body: string,
    status: number,
    headers: Record<string, string>,
  ) => { readonly status: number }
}
