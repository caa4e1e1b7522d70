/** What devices fetch and answer by themselves, without the broker: calls for commands, and answers. */
import type { BrokerKind } from '../broker/address.ts'
import type { Count } from '../counts.ts'
import type { Log } from '../log.ts'
import type { RegistryDb } from '../registry/db.ts'
import { Answers } from './answers.ts'
import type { Commands } from './commands.ts'
import { DeliveryStore } from './delivery-store.ts'
import { HeldPolls } from './held-polls.ts'
import { Receipts } from './receipts.ts'

export interface ExchangeOptions {
  readonly db: RegistryDb
  readonly kind: BrokerKind
  readonly log: Log
  readonly count?: Count | undefined
  /** Milliseconds since the epoch. */
  readonly now?: (() => number) | undefined
}

export interface Exchange extends Pick<Commands, 'take' | 'wait' | 'endWaits' | 'answer' | 'received'> {
  readonly deliveries: DeliveryStore
  /** Ends the waits of these devices: there is a command. */
  wake(deviceIds: readonly number[]): void
  /** Writes receipts that wait. */
  flush(): Promise<void>
  /** Ends the waits, and finishes what is being written. */
  close(): Promise<void>
}

export function createExchange({ db, kind, log, count, now = Date.now }: ExchangeOptions): Exchange {
  const deliveries = new DeliveryStore({ db, now, kind })
  const answers = new Answers(db)
  const receipts = new Receipts({ store: deliveries, log })
  const polls = new HeldPolls({ withCommands: (deviceIds) => deliveries.withCommands(deviceIds) })
  return {
    deliveries,
    wake: (deviceIds) => polls.wake(deviceIds),
    take: (deviceId) => deliveries.take(deviceId),
    wait: (deviceId, ms, signal) => polls.wait(deviceId, ms, signal),
    endWaits: () => polls.close(),

    async answer(answer) {
      const outcome = await answers.record(answer)
      if (outcome !== 'unknown') receipts.forget(answer.commandId)
      if (outcome === 'applied' && answer.status === 'succeeded') count?.('CommandsSucceeded')
      if (outcome === 'applied' && answer.status === 'failed') count?.('CommandsFailed')
      return outcome
    },

    received: (deviceId, commandId) => receipts.add(deviceId, commandId),
    flush: () => receipts.flush(),

    async close() {
      polls.close()
      await answers.settled()
      await receipts.close()
    },
  }
}
