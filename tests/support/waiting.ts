/** How tests wait: as short as possible, and they give up only after far longer than a busy machine takes. */
import { setTimeout as sleep } from 'node:timers/promises'
import { vi } from 'vitest'

/** After this time a wait has failed, ms. */
export const patienceMs = 60_000

/**
 * Repeats a check until it does not throw, and returns its result.
 * @param interval between two checks, ms.
 * @throws what the check threw last, after {@link patienceMs}.
 */
export const eventually = <T>(check: () => T | Promise<T>, interval = 25): Promise<T> =>
  vi.waitFor(check, { timeout: patienceMs, interval })

/**
 * Waits until something is true.
 * @param what is waited for, for the error.
 * @throws {Error} after {@link patienceMs}.
 */
export const until = async (
  reached: () => boolean | Promise<boolean>,
  what: string,
  interval = 5,
): Promise<void> => {
  const deadline = performance.now() + patienceMs
  while (!(await reached())) {
    if (performance.now() > deadline) throw new Error(`not reached: ${what}`)
    await sleep(interval)
  }
}
