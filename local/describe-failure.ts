/** Failures of a start as one sentence for the operator, because messages of libraries may hold addresses, SQL and keys. */
import { errorCode } from '../lib/errors.ts'

/**
 * Carries out one step.
 * @param sentence tells what failed, without a full stop.
 * @throws {Error} the sentence with the code of the error: `DATA_DIR x cannot be made (EACCES).`
 */
export const describeFailure = async <T>(sentence: string, step: () => Promise<T>): Promise<T> => {
  try {
    return await step()
  } catch (error) {
    const code = errorCode(error)
    throw new Error(`${sentence}${code ? ` (${code})` : ''}.`, { cause: error })
  }
}
