/** One step of a start: what fails is told in a sentence of our own, with the code of the fault. */
/** The code of an error or of what caused it, `ECONNREFUSED` say. */
export const codeOf = (error: unknown): string | undefined => {
  if (!(error instanceof Error)) return undefined
  const { code } = error as { code?: unknown }
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]+$/.test(code) ? code : codeOf(error.cause)
}

/** A step of the start. @throws {Error} the sentence and a code: a library's words may hold addresses and SQL. */
export const step = async <T>(sentence: string, take: () => Promise<T>): Promise<T> => {
  try {
    return await take()
  } catch (error) {
    const code = codeOf(error)
    throw new Error(`${sentence}${code ? ` (${code})` : ''}.`, { cause: error })
  }
}
