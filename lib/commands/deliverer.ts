/**
 * Brings commands to devices over MQTT, in batches: while one batch is under way the next one gathers, so that a fleet that
 * connects at once costs few statements. Commands of one device go one after the other, in their order.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { BrokerKind } from '../broker/address.ts'
import type { Messenger, Published } from '../broker/messenger.ts'
import type { Log } from '../log.ts'
import type { TopicTree } from '../mqtt/topics.ts'
import { type Command, commandMessage, commandTopic } from './command.ts'
import {
  answerFirstMs,
  type DeliveryResult,
  type DeliveryStore,
  type Occasion,
  type Target,
} from './delivery-store.ts'

export interface DelivererOptions {
  readonly store: DeliveryStore
  /** Undefined when there is no broker. */
  readonly messenger: Pick<Messenger, 'publish'> | undefined
  readonly kind: BrokerKind
  readonly topics: TopicTree
  readonly log: Log
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** Commands that are published within a second. */
  readonly perSecond?: number
}

/** Devices of one batch. */
const batchSize = 200
/** Devices that are published to at the same time. */
const concurrency = 16
/** Time until the next try when the broker does not take messages, ms. */
const brokerPauseMs = 10_000

/** How often, and after which pause in ms, a device is tried again to which another process delivers. */
const busyTries = 5
const busyPauseMs = 200

const notHeard: Published = { reached: false, sessions: [], isConfirmed: false }

interface Waiting {
  readonly occasion: Occasion
  readonly done: (() => void)[]
}

/** Where a batch goes no further, so that a later command does not arrive before an earlier one; the next batch begins anew. */
interface Stops {
  /** Topics that nobody was subscribed to. */
  readonly unheard: Set<string>
  /** Devices of which the broker did not take a command. */
  readonly failed: Set<number>
}

/** `created` is the weakest occasion: every other one covers it. */
const stronger = (one: Occasion, other: Occasion): Occasion => (one.kind === 'created' ? other : one)

export class Deliverer {
  readonly #options: DelivererOptions
  readonly #queue = new Map<number, Waiting>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #working: Promise<void> | undefined
  #closed = false
  /** Time from which the next command may be published, ms since the epoch. */
  #nextAt = 0

  constructor(options: DelivererOptions) {
    this.#options = options
  }

  /** Delivers what waits for these devices. Resolves when it was tried. */
  async deliver(deviceIds: readonly number[], occasion: Occasion): Promise<void> {
    if (this.#options.messenger === undefined || this.#closed || deviceIds.length === 0) return
    const tried = Promise.all(deviceIds.map((id) => this.#add(id, occasion)))
    this.#working ??= this.#work()
    await tried
  }

  /** Resolves when everything that was asked for so far was tried. */
  async settled(): Promise<void> {
    await this.#working
  }

  /** Finishes the batch under way, and leaves the others to the next process. */
  async close(): Promise<void> {
    this.#closed = true
    for (const timer of this.#timers) clearTimeout(timer)
    await this.#working
  }

  #add(deviceId: number, occasion: Occasion): Promise<void> {
    return new Promise((resolve) => {
      const before = this.#queue.get(deviceId)
      this.#queue.set(deviceId, {
        occasion: before === undefined ? occasion : stronger(before.occasion, occasion),
        done: [...(before?.done ?? []), resolve],
      })
    })
  }

  async #work(): Promise<void> {
    // One turn later, so that the callers of this turn are in the first batch.
    await new Promise(setImmediate)
    while (this.#queue.size > 0) {
      const batch = [...this.#queue].slice(0, batchSize)
      for (const [deviceId] of batch) this.#queue.delete(deviceId)
      if (!this.#closed) {
        const targets = batch.map(([deviceId, { occasion }]) => ({ deviceId, occasion, after: 0 }))
        await this.#deliverBatch(targets).catch((error: unknown) => {
          this.#options.log.warn('commands could not be delivered', { devices: batch.length, error })
        })
      }
      for (const [, { done }] of batch) for (const resolve of done) resolve()
    }
    // In the same turn as the last look at the queue: a device that comes later begins anew.
    this.#working = undefined
  }

  async #deliverBatch(all: readonly Target[]): Promise<void> {
    const { store } = this.#options
    const stops: Stops = { unheard: new Set(), failed: new Set() }
    let tries = 0
    for (let targets = all; targets.length > 0 && !this.#closed; ) {
      const waiting = new Map((await store.waiting(targets)).map((one) => [one.deviceId, one.doubtful]))
      // The first of these commands may have been carried out: the device's answer goes first.
      const isLater = ({ deviceId, occasion }: Target) =>
        waiting.get(deviceId) === true && (occasion.kind === 'subscribed' || occasion.kind === 'online')
      const later = targets.filter(isLater)
      if (later.length > 0) await this.#postpone(later)
      const now = targets.filter((target) => waiting.has(target.deviceId) && !isLater(target))
      const claimed = now.length === 0 ? [] : await store.claim(now)
      await this.#publishAll(claimed, stops)
      // Commands that came meanwhile are behind the last one: their callers found the device claimed.
      const last = new Map(claimed.map(({ deviceId, id }) => [deviceId, id]))
      targets = now
        .filter(({ deviceId }) => !stops.failed.has(deviceId))
        .map((target) => ({ ...target, after: last.get(target.deviceId) ?? target.after }))
      if (claimed.length > 0) continue
      // Another process delivers to them. It may have published before the device subscribed.
      tries += 1
      if (tries > busyTries) return
      if (targets.length > 0) await sleep(busyPauseMs)
    }
  }

  /** The sweep delivers them where no timer of this process does. */
  async #postpone(targets: readonly Target[]): Promise<void> {
    await this.#options.store.postpone(targets)
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      void this.deliver(
        targets.map(({ deviceId }) => deviceId),
        { kind: 'due' },
      )
    }, answerFirstMs + 20)
    this.#timers.add(timer.unref())
  }

  async #publishAll(claimed: readonly Command[], stops: Stops): Promise<void> {
    const { store } = this.#options
    const byDevice = new Map<number, Command[]>()
    for (const command of claimed)
      byDevice.set(command.deviceId, [...(byDevice.get(command.deviceId) ?? []), command])
    const devices = [...byDevice.values()]
    const results: DeliveryResult[] = []
    const released: Command[] = []
    const workers = Array.from({ length: concurrency }, async () => {
      for (let own = devices.shift(); own !== undefined; own = devices.shift()) {
        const published = await this.#publishInOrder(own, stops)
        results.push(...published)
        released.push(...own.slice(published.length))
      }
    })
    await Promise.all(workers)
    await store.record(results)
    if (released.length > 0) await store.release(released, brokerPauseMs)
  }

  /**
   * Publishes the commands of one device. After one that nobody was subscribed to, the later ones of its topic wait too: a client
   * that subscribes in between would get them out of order.
   * @returns the results until the broker did not take one.
   */
  async #publishInOrder(commands: readonly Command[], stops: Stops): Promise<DeliveryResult[]> {
    const results: DeliveryResult[] = []
    try {
      for (const command of commands) {
        const topic = commandTopic(this.#options.topics.of(command.deviceId), command.channel)
        const published = stops.unheard.has(topic) ? notHeard : await this.#publishInTurn(command)
        results.push(this.#resultOf(command, published))
        if (published.reached === false && command.expiresAt > this.#options.now() + 1000)
          stops.unheard.add(topic)
      }
    } catch (error) {
      const [{ deviceId } = {}] = commands
      if (deviceId !== undefined) stops.failed.add(deviceId)
      this.#options.log.warn('command could not be published', { device_id: deviceId, error })
    }
    return results
  }

  async #publishInTurn(command: Command): Promise<Published> {
    const { messenger, topics, now } = this.#options
    await this.#turn()
    const own = topics.of(command.deviceId)
    const expiresInS = Math.ceil((command.expiresAt - now()) / 1000)
    if (messenger === undefined || expiresInS < 1) return notHeard
    return messenger.publish({
      topic: commandTopic(own, command.channel),
      payload: JSON.stringify(commandMessage(command)),
      retain: false,
      properties: {
        responseTopic: `${own.commandsSubscribe}/${command.commandId}/response`,
        correlationData: command.commandId,
        expiresInS,
      },
    })
  }

  #resultOf(command: Command, { reached, sessions, isConfirmed }: Published): DeliveryResult {
    // A Mosquitto without MQTT 5 does not tell whether somebody was subscribed: a heartbeat of the device brings it again.
    const isDoubtful = reached === undefined && this.#options.kind === 'mosquitto'
    return { command, reached: reached ?? true, sessions, isConfirmed: isConfirmed || isDoubtful }
  }

  /** Waits until one more command may be published. */
  async #turn(): Promise<void> {
    const { perSecond = 500, now } = this.#options
    const at = Math.max(this.#nextAt, now())
    this.#nextAt = at + 1000 / perSecond
    // A timer is late by a millisecond or more: waits that are shorter would slow down more than they are meant to.
    if (at - now() > 20) await sleep(at - now())
  }
}
