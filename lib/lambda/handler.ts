/** Lambda handlers that build their parts on the first call, so that importing a function file has no side effect. */
import type { APIGatewayProxyEventV2, APIGatewayProxyResultV2, Context } from 'aws-lambda'
import type { Hono } from 'hono'
import { handle } from 'hono/aws-lambda'
import { AppError } from '../errors.ts'
import type { HttpEnv } from '../http/context.ts'
import { errorBody, internalMessage, statusOf } from '../http/errors.ts'
import type { Log } from '../log.ts'
import { nextRequestId } from '../request-id.ts'
import { type Invocation, reportFailure } from './guard.ts'

/** Raised when what the handlers have built is of no use any more. */
let generation = 0

/** Lets every handler build its parts anew at its next call: the services that it has are closed. */
export function forgetBuilt(): void {
  generation += 1
}

/** Builds on the first call and keeps the result; after a failed build the next call tries again. */
export const buildOnce = <T>(build: () => Promise<T>): (() => Promise<T>) => {
  let built: Promise<T> | undefined
  let builtIn = generation
  return () => {
    if (builtIn !== generation) built = undefined
    builtIn = generation
    built ??= build().catch((error: unknown) => {
      built = undefined
      throw error
    })
    return built
  }
}

const pendingWork = new Set<() => Promise<void>>()

/**
 * Registers work that has to finish before each answer of a handler: Lambda may freeze the process after the answer.
 * @returns a function that removes the work again.
 */
export function beforeEachAnswer(work: () => Promise<void>): () => void {
  pendingWork.add(work)
  return () => void pendingWork.delete(work)
}

const finishPendingWork = async () => {
  if (pendingWork.size > 0) await Promise.all([...pendingWork].map((work) => work()))
}

/** The context that Lambda passes with each event. */
export interface EventContext extends Invocation {
  /** `arn:<partition>:lambda:<region>:<account>:function:<name>` */
  readonly invokedFunctionArn: string
}

/**
 * A Lambda handler of events that are not HTTP requests. An error that leaves it tells nothing that a log may not hold.
 * Callers in the same process pass no context, and get errors as they were thrown.
 * @param log of the function, for its failures.
 */
export function eventHandler<Event, Answer>(
  build: () => Promise<(event: Event, context?: EventContext) => Promise<Answer>>,
  log: () => Log,
): (event: Event, context?: EventContext) => Promise<Answer> {
  const built = buildOnce(build)
  const handle = async (event: Event, context: EventContext | undefined) => {
    try {
      return await (await built())(event, context)
    } finally {
      await finishPendingWork()
    }
  }
  return async (event, context) => {
    try {
      return await handle(event, context)
    } catch (error) {
      throw context === undefined ? error : reportFailure(error, context, log)
    }
  }
}

/** A Lambda handler of HTTP requests, which also hands its app to the Node server and to tests. */
export interface HttpHandler {
  (event: APIGatewayProxyEventV2, context: Context): Promise<APIGatewayProxyResultV2>
  /** The app, built on the first call and kept. */
  app(): Promise<Hono<HttpEnv>>
}

/** Renames methods that `Request` cannot carry, so that they get the answer of any other unknown method. */
const withAllowedMethod = (event: APIGatewayProxyEventV2): APIGatewayProxyEventV2 => {
  const { http } = event.requestContext
  if (!/^(?:CONNECT|TRACE|TRACK)$/i.test(http.method)) return event
  return {
    ...event,
    requestContext: { ...event.requestContext, http: { ...http, method: `X-${http.method}` } },
  }
}

/** The answer to a request whose app could not be built, in the shape of every error. */
const failureAnswer = (requestId: string): APIGatewayProxyResultV2 => ({
  statusCode: statusOf.INTERNAL,
  headers: { 'Content-Type': 'application/json', 'X-Request-Id': requestId },
  body: JSON.stringify(errorBody(new AppError('INTERNAL', internalMessage), requestId)),
})

/** @param log of the function, for failures outside of its app. */
export function httpHandler(build: () => Promise<Hono<HttpEnv>>, log: () => Log): HttpHandler {
  const app = buildOnce(build)
  // Hono and the type package describe the same event, but differ in its optional fields.
  type HonoEvent = Parameters<ReturnType<typeof handle>>[0]
  const respond = async (event: APIGatewayProxyEventV2, context: Context) => {
    try {
      const answer = handle(await app())
      return (await answer(
        withAllowedMethod(event) as unknown as HonoEvent,
        context,
      )) as APIGatewayProxyResultV2
    } finally {
      await finishPendingWork()
    }
  }
  const handler = (event: APIGatewayProxyEventV2, context: Context) =>
    respond(event, context).catch((error: unknown) => {
      reportFailure(error, context, log)
      return failureAnswer(context.awsRequestId ?? nextRequestId())
    })
  return Object.assign(handler, { app })
}
