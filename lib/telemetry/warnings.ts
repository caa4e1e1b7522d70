/** Warnings about readings that are stored, as clients and operators see them. */
import { AppError } from '../errors.ts'
import type { AccountChange } from './account.ts'
import type { Ledger } from './embedded/ledger.ts'
import type { Warning, WarningCode } from './reading.ts'

/** Warnings in one answer, and paths in one event of a device. */
export const maxWarnings = 20

/** Details in the error of strict handling. */
const maxDetails = 100

/** Number of these readings with at least one warning; what stands beside a batch may have some, too. */
export const countWarned = (
  readings: readonly { readonly index: number }[],
  warnings: readonly Warning[],
): number => {
  if (warnings.length === 0) return 0
  const warned = new Set(warnings.map(({ index }) => index))
  return readings.filter(({ index }) => warned.has(index)).length
}

/** The warning about a reading under an id that the device used for another one. */
export const reusedIdWarning = (index: number): Warning => ({
  index,
  path: 'message_id',
  code: 'MESSAGE_ID_REUSED',
  message: 'was the id of another reading within the last 24 h: both are stored',
})

/** Counts readings of which only the store could tell that they have a warning. Those that come meanwhile are counted together. */
export class WarnedLater {
  readonly #ledger: Pick<Ledger, 'count'>
  #waiting: AccountChange[] = []
  #counting: Promise<void> = Promise.resolve()

  constructor(ledger: Pick<Ledger, 'count'>) {
    this.#ledger = ledger
  }

  /** Resolves when they are counted, or cannot be counted now. */
  count(deviceId: number, warned: number): Promise<void> {
    if (warned > 0) this.#waiting.push({ deviceId, warned })
    this.#counting = this.#counting.then(() => this.#countWaiting())
    return this.#counting
  }

  async #countWaiting(): Promise<void> {
    const changes = this.#waiting
    this.#waiting = []
    // The readings are stored; without the count, only the number of warnings is too low.
    if (changes.length > 0) await this.#ledger.count(...changes).catch(() => undefined)
  }
}

/** The warnings of an answer; nothing where there are none. */
export const warningsView = (warnings: readonly Warning[], isBatch: boolean) => {
  if (warnings.length === 0) return undefined
  const shown = warnings
    .slice(0, maxWarnings)
    .map(({ index, path, code, message }) => ({ ...(isBatch && { index }), path, code, message }))
  return {
    warnings: shown,
    ...(warnings.length > maxWarnings && { warnings_total: warnings.length }),
  }
}

/** The error of a message with warnings whose sender wants strict handling. */
export const strictError = (warnings: readonly Warning[], isBatch: boolean): AppError => {
  const details = warnings.slice(0, maxDetails).map(({ index, path, code, message }) => ({
    path: isBatch ? `[${index}]${path && '.'}${path}` : path,
    message: `${code}: ${message}`,
  }))
  return new AppError('VALIDATION_FAILED', 'Strict handling: nothing is stored of a message with warnings.', {
    details,
  })
}

/** The warnings of one message with one code: how many there are, and the first of their paths. */
export interface WarningSummary {
  readonly code: WarningCode
  readonly count: number
  readonly paths: readonly string[]
}

/** Sums warnings up by their codes. */
export function summarizeWarnings(warnings: readonly Warning[]): WarningSummary[] {
  const sums = new Map<WarningCode, { count: number; paths: Set<string> }>()
  for (const { code, path } of warnings) {
    const sum = sums.get(code) ?? { count: 0, paths: new Set<string>() }
    sums.set(code, sum)
    sum.count += 1
    if (path !== '' && sum.paths.size < maxWarnings) sum.paths.add(path)
  }
  return [...sums].map(([code, { count, paths }]) => ({ code, count, paths: [...paths] }))
}
