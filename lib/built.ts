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

const pending = new Set<() => Promise<void>>()

/** Work that has to be done before each answer: afterwards nobody may let the process go on. @returns takes it back. */
export function beforeAnswers(work: () => Promise<void>): () => void {
  pending.add(work)
  return () => void pending.delete(work)
}

/** A Lambda handler: what it is made of is built on its first call, and all work is done before each of its answers. */
export function invocable<Handle, Event, About, Answer>(
  built: () => Promise<Handle>,
  answer: (handle: Handle, event: Event, about: About) => Promise<Answer>,
): (event: Event, about: About) => Promise<Answer> {
  return async (event, about) => {
    try {
      return await answer(await built(), event, about)
    } finally {
      if (pending.size > 0) await Promise.all([...pending].map((work) => work()))
    }
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
  return invocable(builtOnce(build), (handle, event: Event, context?: EventContext) => handle(event, context))
}
