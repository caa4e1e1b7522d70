/**
 * Confirmations of clients that they have a command. They are written some time later, many at once, and only those of commands
 * that are not answered by then: after an answer nobody asks for the receipt.
 */
import type { Log } from '../log.ts'
import type { DeliveryStore } from './delivery-store.ts'

const writeAfterMs = 250

export class Receipts {
  readonly #store: Pick<DeliveryStore, 'received'>
  readonly #log: Log
  /** Devices by command id. */
  #waiting = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined

  constructor({ store, log }: { store: Pick<DeliveryStore, 'received'>; log: Log }) {
    this.#store = store
    this.#log = log
  }

  add(deviceId: number, commandId: string): void {
    this.#waiting.set(commandId, deviceId)
    this.#timer ??= setTimeout(() => void this.flush(), writeAfterMs)
  }

  forget(commandId: string): void {
    this.#waiting.delete(commandId)
  }

  /** Writes what is there. A receipt that is lost makes a command come again in the next session, under the same id. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#waiting.size === 0) return
    const receipts = [...this.#waiting].map(([commandId, deviceId]) => [deviceId, commandId] as const)
    this.#waiting = new Map()
    await this.#store.received(receipts).catch((error: unknown) => {
      this.#log.warn('receipts of commands could not be written', { receipts: receipts.length, error })
    })
  }

  async close(): Promise<void> {
    await this.flush()
  }
}
