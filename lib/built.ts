/** Handlers that build what they need on their first call: importing a function has no effect. */

/** Builds on the first call and keeps it; what failed to build is tried again by the next call. */
export function builtOnce<T>(build: () => Promise<T>): () => Promise<T> {
  let built: Promise<T> | undefined
  return () => {
    built ??= build().catch((error: unknown) => {
      built = undefined
      throw error
    })
    return built
  }
}

/** What Lambda tells of itself with each event. */
export interface EventContext {
  /** `arn:<partition>:lambda:<region>:<account>:function:<name>` */
  readonly invokedFunctionArn: string
}

/** A Lambda handler of events that are no HTTP requests. */
export function onEvent<Event, Answer>(
  build: () => Promise<(event: Event, context?: EventContext) => Promise<Answer>>,
): (event: Event, context?: EventContext) => Promise<Answer> {
  const handle = builtOnce(build)
  return async (event, context) => (await handle())(event, context)
}
