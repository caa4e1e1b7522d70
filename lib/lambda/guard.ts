/**
 * What leaves a function of Lambda when it fails. Lambda writes the message and the stack of such an error to the log, and a
 * message of a library can hold SQL and parameters.
 */
import { AppError } from '../errors.ts'
import { createLog, type Log } from '../log.ts'

/** The parts of Lambda's context that a line of the log tells. */
export interface Invocation {
  readonly awsRequestId?: string
  readonly functionName?: string
}

/** The log of a function whose settings are wrong, too. */
const lastLog = createLog('error')

const logOf = (log: () => Log): Log => {
  try {
    return log()
  } catch {
    return lastLog
  }
}

/** Messages that were written for readers: they hold no value of a secret. */
const tellable: ReadonlySet<string> = new Set(['AppError', 'ConfigError'])

/**
 * Logs where and why an invocation failed.
 * @returns the error to leave with: it tells the code and nothing else of the one that was thrown, not even as its cause.
 */
export function reportFailure(thrown: unknown, invocation: Invocation, log: () => Log): AppError {
  const error = thrown instanceof Error ? thrown : new Error('A value was thrown that is no error.')
  const told = logOf(log)
  told.error('function failed', {
    function: invocation.functionName,
    aws_request_id: invocation.awsRequestId,
    error,
    ...(tellable.has(error.name) ? { reason: error.message } : {}),
  })
  // Lambda freezes the process after the answer.
  told.flush()
  const code = error instanceof AppError ? error.code : 'INTERNAL'
  return new AppError(code, `The function failed: ${code}; the log says where.`)
}
