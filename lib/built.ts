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

const doPending = () => Promise.all([...pending].map((work) => work()))

/** @param answer resolves or rejects as before, when all of the work is done. */
export async function withPending<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } finally {
    if (pending.size > 0) await doPending()
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
  return async (event, context) => {
    try {
      const answer = await handle()
      return await answer(event, context)
    } finally {
      if (pending.size > 0) await doPending()
    }
  }
}
