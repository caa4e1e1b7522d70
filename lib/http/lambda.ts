/** From a Hono app to a Lambda handler, and to the same app for the Node server and the tests. */
import type { APIGatewayProxyEventV2, APIGatewayProxyResultV2, Context } from 'aws-lambda'
import type { Hono } from 'hono'
import { handle } from 'hono/aws-lambda'
import { builtOnce, invocable } from '../built.ts'
import type { HttpEnv } from './endpoint.ts'

export interface HttpHandler {
  (event: APIGatewayProxyEventV2, context: Context): Promise<APIGatewayProxyResultV2>
  /** The app, built on the first call and kept. */
  app(): Promise<Hono<HttpEnv>>
}

/** Fetch's `Request` cannot carry these: under another name they are answered as any method that an address does not take. */
const withMethod = (event: APIGatewayProxyEventV2): APIGatewayProxyEventV2 => {
  const { http } = event.requestContext
  if (!/^(?:CONNECT|TRACE|TRACK)$/i.test(http.method)) return event
  return {
    ...event,
    requestContext: { ...event.requestContext, http: { ...http, method: `X-${http.method}` } },
  }
}

/** Nothing is built while the file is imported: the first call does it, and a failed build is tried again. */
export function lambda(build: () => Promise<Hono<HttpEnv>>): HttpHandler {
  const app = builtOnce(build)
  // The two descriptions of the same event differ in what they call optional.
  type Event = Parameters<ReturnType<typeof handle>>[0]
  const handler = invocable(
    app,
    async (hono, event: APIGatewayProxyEventV2, context: Context) =>
      (await handle(hono)(withMethod(event) as unknown as Event, context)) as APIGatewayProxyResultV2,
  )
  return Object.assign(handler, { app })
}
