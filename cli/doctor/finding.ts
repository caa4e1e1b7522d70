/** What a check of `iotflow doctor` finds. */

export interface Finding {
  /** What was checked: `port 5000`. */
  readonly check: string
  readonly status: 'ok' | 'warning' | 'failed'
  readonly message: string
  /** What to do about it. */
  readonly advice?: string
}

export const ok = (check: string, message: string): Finding => ({ check, status: 'ok', message })
export const warning = (check: string, message: string, advice: string): Finding => ({
  check,
  status: 'warning',
  message,
  advice,
})
export const failed = (check: string, message: string, advice: string): Finding => ({
  check,
  status: 'failed',
  message,
  advice,
})

/** Difference of two clocks from which on times of readings become wrong, ms. */
const wrongClockMs = 5000

/**
 * Compares this clock with another one.
 * @param askedAt the middle of the time in which the other clock was read, ms since the epoch.
 * @param resolutionMs of the other clock.
 */
export function compareClock(check: string, theirs: number, askedAt: number, resolutionMs: number): Finding {
  const difference = theirs - askedAt
  const seconds = (Math.abs(difference) / 1000).toFixed(1)
  if (Math.abs(difference) <= wrongClockMs + resolutionMs) return ok(check, 'its clock agrees with this one')
  return warning(
    check,
    `its clock is ${seconds} s ${difference > 0 ? 'ahead of' : 'behind'} this one`,
    'Let both computers set their clocks by NTP.',
  )
}
