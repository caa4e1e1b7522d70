/** One app for many: passes each request to the app of the function whose route fits. */
import { Hono } from 'hono'
import { getPath } from 'hono/utils/url'
import type { HttpEnv } from './context.ts'

/** A route of the system, as serverless.yml has it. */
export interface SystemRoute {
  /** Upper case. */
  readonly method: string
  /** In Hono's form: `/api/v1/telemetry/:id`. */
  readonly path: string
}

/** A route with the app that answers on it. */
export interface RoutedApp extends SystemRoute {
  /** Builds the app on the first call. */
  app(): Promise<Hono<HttpEnv>>
}

const slash = 47

/** The path of a request, without the slashes at its end: `/health/` is answered as `/health`. */
export function pathOf(request: Request): string {
  const path = getPath(request)
  let end = path.length
  while (end > 1 && path.charCodeAt(end - 1) === slash) end -= 1
  return end === path.length ? path : path.slice(0, end)
}

/** An app without routes. Every app of the system is made here, so that they read paths alike. HEAD is answered as GET. */
export function createApp(): Hono<HttpEnv> {
  return new Hono<HttpEnv>({ getPath: pathOf })
}

/** Adds the routes to an app; like API Gateway it prefers a fixed segment to a parameter. */
export function addRoutes(app: Hono<HttpEnv>, routes: readonly RoutedApp[]): void {
  const parameters = ({ path }: SystemRoute) => path.split(':').length
  for (const { method, path, app: target } of [...routes].sort((a, b) => parameters(a) - parameters(b)))
    app.on(method, path, async (c) => (await target()).fetch(c.req.raw, c.env))
}
