/**
 * Devices that ask for commands and wait. A command of this process wakes its device at once; those that another process has
 * stored are found by one look-up per second for all devices that wait.
 */
/** Why a wait ended: there may be a command or the time is over; the process ends; there was no place to wait. */
export type WaitOutcome = 'look' | 'ended' | 'full'

export interface HeldPollsOptions {
  /** Those of the devices for which there is a command. */
  readonly withCommands: (deviceIds: readonly number[]) => Promise<readonly number[]>
  /** How many may wait at once; further ones are told to ask again later. */
  readonly most?: number
  /** Milliseconds between two look-ups. */
  readonly everyMs?: number
}

/** A device whose connections break has calls left behind for a while. */
const mostOfDevice = 3

export class HeldPolls {
  readonly #options: Required<HeldPollsOptions>
  /** Functions that end the waits of a device. */
  readonly #waiting = new Map<number, Set<() => void>>()
  #count = 0
  #timer: NodeJS.Timeout | undefined
  #isLooking = false
  #closed = false

  constructor({ withCommands, most = 1000, everyMs = 1000 }: HeldPollsOptions) {
    this.#options = { withCommands, most, everyMs }
  }

  /**
   * Resolves when there is a command for the device, when the time is over, or at the signal or {@link close}.
   */
  async wait(deviceId: number, ms: number, signal: AbortSignal): Promise<WaitOutcome> {
    if (this.#closed) return 'ended'
    if (signal.aborted) return 'look'
    const own = this.#waiting.get(deviceId) ?? new Set()
    if (this.#count >= this.#options.most || own.size >= mostOfDevice) return 'full'
    this.#timer ??= setInterval(() => void this.#look(), this.#options.everyMs).unref()
    await new Promise<void>((resolve) => {
      const end = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', end)
        if (!own.delete(end)) return
        this.#count -= 1
        if (own.size === 0) this.#waiting.delete(deviceId)
        if (this.#count === 0) this.#stopLooking()
        resolve()
      }
      const timer = setTimeout(end, ms)
      signal.addEventListener('abort', end)
      own.add(end)
      this.#waiting.set(deviceId, own)
      this.#count += 1
    })
    return this.#closed ? 'ended' : 'look'
  }

  /** Ends the waits of these devices. */
  wake(deviceIds: Iterable<number>): void {
    for (const id of deviceIds) for (const end of [...(this.#waiting.get(id) ?? [])]) end()
  }

  /** Ends all waits, and lets nobody wait any more. */
  close(): void {
    this.#closed = true
    this.wake([...this.#waiting.keys()])
  }

  #stopLooking(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  async #look(): Promise<void> {
    if (this.#isLooking) return
    this.#isLooking = true
    try {
      this.wake(await this.#options.withCommands([...this.#waiting.keys()]))
    } catch {
      // The next look-up tries again; a device that waits is answered in any case when its time is over.
    } finally {
      this.#isLooking = false
    }
  }
}
