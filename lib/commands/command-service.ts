/** The service of commands, put together from its parts: store, deliveries, answers, and calls that wait. */
import type { BrokerKind } from '../broker/address.ts'
import type { Messenger } from '../broker/messenger.ts'
import type { Count } from '../counts.ts'
import { AppError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { TopicTree } from '../mqtt/topics.ts'
import type { RegistryDb } from '../registry/db.ts'
import { Answers } from './answers.ts'
import { maxUnfinished } from './command.ts'
import { CommandStore } from './command-store.ts'
import type { Commands } from './commands.ts'
import { Deliverer } from './deliverer.ts'
import { DeliveryStore } from './delivery-store.ts'
import { HeldPolls } from './held-polls.ts'
import { Receipts } from './receipts.ts'
import { recordSubscription } from './subscriptions.ts'

export interface CommandsOptions {
  readonly db: RegistryDb
  /** Undefined when there is no broker. */
  readonly messenger: Pick<Messenger, 'publish'> | undefined
  readonly kind: BrokerKind
  readonly topics: TopicTree
  readonly log: Log
  readonly count?: Count | undefined
  /** Milliseconds since the epoch. */
  readonly now?: () => number
  /** Commands that are published within a second; 500 by default. */
  readonly perSecond?: number
}

/** Age at which commands that have ended are deleted, ms. */
export const finishedCommandsMs = 30 * 86_400_000

export function createCommands(options: CommandsOptions): Commands {
  const { db, messenger, kind, topics, log, count, now = Date.now } = options
  const store = new CommandStore({ db, now })
  const deliveries = new DeliveryStore({ db, now, kind })
  const deliverer = new Deliverer({ ...options, store: deliveries, messenger, now })
  const answers = new Answers(db)
  const receipts = new Receipts({ store: deliveries, log })
  const polls = new HeldPolls({ withCommands: (deviceIds) => deliveries.withCommands(deviceIds) })

  /** Wakes devices that wait over HTTP, and begins to deliver over MQTT: nobody waits for that. */
  const announce = (deviceIds: readonly number[]) => {
    count?.('CommandsCreated', deviceIds.length)
    polls.wake(deviceIds)
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

    deliver: (deviceIds, occasion) => deliverer.deliver(deviceIds, occasion),

    async subscribed(event) {
      // The other brokers tell with each message whether it reached somebody.
      if (kind === 'aws-iot') await recordSubscription(db, topics.of(event.deviceId), event)
      const { deviceId, sessionId } = event
      if (event.kind === 'subscribed') await deliverer.deliver([deviceId], { kind: 'subscribed', sessionId })
    },

    received: (deviceId, commandId) => receipts.add(deviceId, commandId),
    endClaims: () => deliveries.endClaims(),

    async sweep() {
      const due = await deliveries.due()
      if (due.length > 0) {
        await deliverer.deliver(due, { kind: 'due' })
        await deliveries.notDue(due)
      }
      while (await deliveries.expire());
    },

    prune: () => deliveries.prune(finishedCommandsMs),

    async settled() {
      await deliverer.settled()
      await receipts.flush()
    },

    async close() {
      polls.close()
      await deliverer.close()
      await answers.settled()
      await receipts.close()
    },
  }
}
