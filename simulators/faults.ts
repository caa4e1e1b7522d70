/** The faults of a simulated fleet: which message of which device meets which one. Pure, so that a run repeats. */
import { between, pick, seedOf, uniform } from './signals/random.ts'

/** Shares are from 0 to 1. */
export interface FaultRates {
  /** Messages that get lost on the way, or whose answer does. The device sends them again. */
  readonly failure: number
  /** Messages after which the connection is lost. */
  readonly disconnect: number
  /** Messages that are sent twice although the first one was acknowledged. */
  readonly duplicate: number
  /** Readings that are sent after a later one. */
  readonly outOfOrder: number
  /** Readings after which the device is offline: it keeps its readings and sends them together later. */
  readonly offline: number
  /** How long such a time lasts, s: half of it to one and a half. */
  readonly offlineS: number
  /** Devices whose clock is wrong. */
  readonly wrongClock: number
  /** Commands that the device gets and never answers. */
  readonly silent: number
  /** Commands that the device answers twice. */
  readonly answerTwice: number
  /** Mean of the time that the network adds to each message, ms. */
  readonly latencyMs: number
}

export const noFaults: FaultRates = {
  failure: 0,
  disconnect: 0,
  duplicate: 0,
  outOfOrder: 0,
  offline: 0,
  offlineS: 30,
  wrongClock: 0,
  silent: 0,
  answerTwice: 0,
  latencyMs: 0,
}

/** What is counted of the injected faults. */
export type FaultName =
  | 'message lost'
  | 'answer lost'
  | 'disconnect'
  | 'duplicate'
  | 'out of order'
  | 'offline'
  | 'wrong clock'
  | 'command not answered'
  | 'command answered twice'

const stream = {
  failure: seedOf('failure'),
  disconnect: seedOf('disconnect'),
  duplicate: seedOf('duplicate'),
  order: seedOf('order'),
  offline: seedOf('offline'),
  clock: seedOf('clock'),
  command: seedOf('command'),
  latency: seedOf('latency'),
}

export interface MessageFaults {
  /** `message lost`: it never arrives. `answer lost`: it arrives, but the connection breaks before the answer. */
  readonly failure: 'none' | 'message lost' | 'answer lost'
  readonly disconnect: boolean
  readonly duplicate: boolean
  readonly latencyMs: number
}

/** The faults of one message. @param n counts the messages of the device. */
export function messageFaults(rates: FaultRates, seed: number, n: number): MessageFaults {
  const fails = uniform(seed, stream.failure, n) < rates.failure
  const failure = fails
    ? pick(['message lost', 'answer lost'] as const, seed, stream.failure, n, 1)
    : ('none' as const)
  return {
    failure,
    disconnect: uniform(seed, stream.disconnect, n) < rates.disconnect,
    duplicate: uniform(seed, stream.duplicate, n) < rates.duplicate,
    // Exponentially distributed: most messages are fast, a few are very slow.
    latencyMs: -Math.log(1 - uniform(seed, stream.latency, n)) * rates.latencyMs,
  }
}

export interface ReadingFaults {
  /** The reading waits until a later one was sent. */
  readonly heldBack: boolean
  /** ms that the device is offline after this reading; 0: it stays online. */
  readonly offlineMs: number
}

/** The faults of one reading. @param n counts the readings of the device. */
export function readingFaults(rates: FaultRates, seed: number, n: number): ReadingFaults {
  const offline = uniform(seed, stream.offline, n) < rates.offline
  return {
    heldBack: uniform(seed, stream.order, n) < rates.outOfOrder,
    offlineMs: offline ? 1000 * rates.offlineS * between(0.5, 1.5, seed, stream.offline, n, 1) : 0,
  }
}

/** What a device does wrong with one command. @param n counts the commands of the device. */
export function commandFault(
  rates: FaultRates,
  seed: number,
  n: number,
): 'none' | 'silent' | 'answers twice' {
  if (uniform(seed, stream.command, n) < rates.silent) return 'silent'
  return uniform(seed, stream.command, n, 1) < rates.answerTwice ? 'answers twice' : 'none'
}

const hourMs = 3_600_000

/**
 * How far the clock of a device is wrong, ms; 0 for a right one. Of the wrong ones a third has started in 1970, a third is
 * one to ten years ahead, and a third is up to two days behind.
 */
export function clockError(rates: FaultRates, seed: number, at: number): number {
  if (uniform(seed, stream.clock) >= rates.wrongClock) return 0
  const error = pick(
    [
      -at,
      between(8760, 87_600, seed, stream.clock, 1) * hourMs,
      -between(1, 48, seed, stream.clock, 2) * hourMs,
    ],
    seed,
    stream.clock,
    3,
  )
  return Math.round(error)
}
