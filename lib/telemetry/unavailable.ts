/** The error of everything that keeps telemetry and cannot be used at the moment. */
import { AppError } from '../errors.ts'

/**
 * @param cause the database's or the connection's own error; the log shows its name and code only.
 * @param retryAfterS seconds after which the sender may try again.
 */
export const unavailable = (cause?: unknown, retryAfterS = 2) =>
  new AppError('UNAVAILABLE', 'The telemetry store cannot take or give readings at the moment.', {
    retryAfterS,
    cause,
  })

/** The outcome of every entry of a batch when one fault concerns all of them. */
export const allUnavailable = (batch: readonly unknown[], cause: unknown) => {
  const error = cause instanceof AppError && cause.code === 'UNAVAILABLE' ? cause : unavailable(cause)
  return batch.map(() => ({ unavailable: error }))
}
