/** The error of a message of which no reading is good. */
import { AppError, type ErrorDetail } from '../errors.ts'
import type { Rejection } from './reading.ts'

/** Details in one answer. */
const maxDetails = 100

const toDetails = (rejected: readonly Rejection[], isBatch: boolean): ErrorDetail[] =>
  rejected
    .flatMap(({ index, details, message }) => {
      const inItem = details.length > 0 ? details : [{ path: '', message }]
      return inItem.map((detail) => ({
        path: isBatch ? `[${index}]${detail.path && '.'}${detail.path}` : detail.path,
        message: detail.message,
      }))
    })
    .slice(0, maxDetails)

/** The error of a request whose Idempotency-Key came with another body within 24 h. */
export const conflictError = (): AppError => {
  const message = 'came with another body within the last 24 h: a new body needs a new key'
  return new AppError('VALIDATION_FAILED', `Idempotency-Key ${message}.`, {
    details: [{ path: 'Idempotency-Key', message }],
  })
}

export function rejectionError(rejected: readonly Rejection[], isBatch: boolean): AppError {
  const [first] = rejected
  const code = rejected.every((rejection) => rejection.code === 'TOO_OLD') ? 'TOO_OLD' : 'VALIDATION_FAILED'
  const message = isBatch
    ? 'No reading of the batch could be accepted.'
    : (first?.message ?? 'The reading is not valid.')
  return new AppError(code, message, { details: toDetails(rejected, isBatch) })
}
