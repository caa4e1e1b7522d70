/**
 * A discrete-event simulation of the queue: messages arrive at random, SQS hands them over in batches, and each of a few containers
 * works on one batch after the other. It tells how long messages wait, for rates that no computer here can produce.
 */
import TinyQueue from 'tinyqueue'
import { quantile } from './measure.ts'

export interface QueueModel {
  /** Messages that arrive per second, independently of each other. */
  readonly ratePerS: number
  /** Messages to simulate. */
  readonly messages: number
  /** Most messages of one call. */
  readonly batch: number
  /** Time that SQS waits for a batch to fill, ms. */
  readonly windowMs: number
  /** Calls at the same time. */
  readonly concurrency: number
  /** Time of a call, ms. */
  serviceMs(messages: number): number
  /** Numbers from 0 to 1, 1 excluded. */
  random(): number
}

export interface QueueResult {
  readonly throughputPerS: number
  /** Share of the containers' time in which they work. */
  readonly utilisation: number
  /** Mean of the messages that wait or are worked on. */
  readonly meanInSystem: number
  /** From the arrival of a message to the end of its call, ms. */
  readonly meanMs: number
  readonly p99Ms: number
  readonly messagesPerCall: number
}

/** A random sequence that is the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

interface Event {
  readonly at: number
  readonly kind: 'arrival' | 'window' | 'end'
  /** Arrivals of the messages of a call. */
  readonly taken?: readonly number[]
}

/** Runs until every message is worked on. */
export function simulateQueue(model: QueueModel): QueueResult {
  const { ratePerS, messages, batch, windowMs, concurrency, serviceMs, random } = model
  const events = new TinyQueue<Event>([], (one, other) => one.at - other.at)
  const waiting: number[] = []
  const times: number[] = []
  let [first, free, arrived, now, calls, busyMs, inSystem, area] = [0, concurrency, 0, 0, 0, 0, 0, 0]
  const planArrival = () => {
    const pauseMs = (-Math.log(1 - random()) / ratePerS) * 1000
    if (arrived < messages) events.push({ at: now + pauseMs, kind: 'arrival' })
  }
  const startCalls = () => {
    while (free > 0 && first < waiting.length) {
      const size = Math.min(batch, waiting.length - first)
      if (size < batch && now < (waiting[first] ?? 0) + windowMs) break
      const taken = waiting.slice(first, first + size)
      first += size
      free -= 1
      calls += 1
      const ms = serviceMs(size)
      busyMs += ms
      events.push({ at: now + ms, kind: 'end', taken })
    }
  }
  planArrival()
  for (let event = events.pop(); event !== undefined; event = events.pop()) {
    area += inSystem * (event.at - now)
    now = event.at
    if (event.kind === 'arrival') {
      arrived += 1
      inSystem += 1
      waiting.push(now)
      if (windowMs > 0) events.push({ at: now + windowMs, kind: 'window' })
      planArrival()
    } else if (event.kind === 'end') {
      free += 1
      inSystem -= event.taken?.length ?? 0
      for (const at of event.taken ?? []) times.push(now - at)
    }
    startCalls()
  }
  times.sort((one, other) => one - other)
  return {
    throughputPerS: (messages / now) * 1000,
    utilisation: busyMs / now / concurrency,
    meanInSystem: area / now,
    meanMs: times.reduce((sum, one) => sum + one, 0) / times.length,
    p99Ms: quantile(times, 0.99),
    messagesPerCall: messages / calls,
  }
}
