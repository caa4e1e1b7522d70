/** The service of commands, put together from its parts: store, deliveries, and the exchange with devices that ask themselves. */
import type { Messenger } from '../broker/messenger.ts'
import { AppError } from '../errors.ts'
import type { TopicTree } from '../mqtt/topics.ts'
import { maxUnfinished } from './command.ts'
import { CommandStore } from './command-store.ts'
import type { Commands } from './commands.ts'
import { Deliverer } from './deliverer.ts'
import { createExchange, type Exchange, type ExchangeOptions } from './exchange.ts'
import { recordSubscription } from './subscriptions.ts'

export interface CommandsOptions extends ExchangeOptions {
  /** Undefined when there is no broker. */
  readonly messenger: Pick<Messenger, 'publish'> | undefined
  readonly topics: TopicTree
  /** Commands that are published within a second; 500 by default. */
  readonly perSecond?: number
  /** Shared with functions that need nothing else; its owner closes it. */
  readonly exchange?: Exchange
}

export function createCommands(options: CommandsOptions): Commands {
  const { db, messenger, kind, topics, count, now = Date.now } = options
  const store = new CommandStore({ db, now })
  const exchange = options.exchange ?? createExchange(options)
  const { deliveries } = exchange
  const deliverer = new Deliverer({ ...options, store: deliveries, messenger, now })

  /** Wakes devices that wait over HTTP, and begins to deliver over MQTT: nobody waits for that. */
  const announce = (deviceIds: readonly number[]) => {
    count?.('CommandsCreated', deviceIds.length)
    exchange.wake(deviceIds)
    void deliverer.deliver(deviceIds, { kind: 'created' })
  }

  return {
    async create(deviceId, command) {
      const { created } = await store.insert([deviceId], command)
      const [first] = created
      if (first === undefined) {
        if (!(await store.hasDevice(deviceId))) throw new AppError('NOT_FOUND', 'There is no such device.')
        throw new AppError('CONFLICT', `The device has ${maxUnfinished} commands that have not ended.`)
      }
      const stored = await store.get(deviceId, first.commandId)
      announce([deviceId])
      return stored
    },

    async createMany(deviceIds, { fleetCommandId, ...command }) {
      const result = await store.insert(deviceIds, command, fleetCommandId)
      announce(result.created.map(({ deviceId }) => deviceId))
      return result
    },

    get: (deviceId, commandId) => store.get(deviceId, commandId),
    list: (deviceId, query) => store.list(deviceId, query),
    cancel: (deviceId, commandId) => store.cancel(deviceId, commandId),
    cancelFleet: (fleetCommandId) => store.cancelFleet(fleetCommandId),

    take: exchange.take,
    wait: exchange.wait,
    endWaits: exchange.endWaits,
    answer: exchange.answer,

    deliver: (deviceIds, occasion) => deliverer.deliver(deviceIds, occasion),

    async subscribed(event) {
      // The other brokers tell with each message whether it reached somebody.
      if (kind === 'aws-iot') await recordSubscription(db, topics.of(event.deviceId), event)
      const { deviceId, sessionId } = event
      if (event.kind === 'subscribed') await deliverer.deliver([deviceId], { kind: 'subscribed', sessionId })
    },

    received: exchange.received,
    endClaims: () => deliveries.endClaims(),

    async sweep() {
      const due = await deliveries.due()
      if (due.length > 0) {
        await deliverer.deliver(due, { kind: 'due' })
        await deliveries.notDue(due)
      }
      while (await deliveries.expire());
    },

    async settled() {
      await deliverer.settled()
      await exchange.flush()
    },

    async close() {
      exchange.endWaits()
      await deliverer.close()
      if (options.exchange === undefined) await exchange.close()
    },
  }
}
