/** Counts the messages of devices by the minute in which they arrived, where nothing can slow a device down. */

/** Devices that are remembered. */
const maxDevices = 50_000

const minuteMs = 60_000

/**
 * Counts what this process sees. A deployed stage has several containers: one with more messages of a device than the limit
 * shows a device that is above it, while a device that is not far above it may stay unseen.
 */
export class MessageRate {
  readonly #limit: number
  /** The minute of a device's newest message, and its messages in that minute. */
  readonly #devices = new Map<number, { minute: number; count: number }>()

  /** @param limit messages per minute; 0: no limit. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /**
   * Counts a message.
   * @param receivedAt ms since the epoch.
   * @returns true when the device has sent more than the limit in that minute.
   */
  isAbove(deviceId: number, receivedAt: number): boolean {
    if (this.#limit === 0) return false
    const minute = Math.floor(receivedAt / minuteMs)
    const known = this.#devices.get(deviceId)
    if (known === undefined || known.minute < minute) {
      if (known === undefined && this.#devices.size >= maxDevices) this.#devices.clear()
      this.#devices.set(deviceId, { minute, count: 1 })
      return false
    }
    // A message of an earlier minute came late: it says nothing about the newest one.
    if (known.minute > minute) return false
    known.count += 1
    return known.count > this.#limit
  }
}
