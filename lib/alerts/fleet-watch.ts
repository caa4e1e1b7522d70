/**
 * Which devices a sweep has to look at: those of which a rule that is about time may say something else than at the last look. All
 * others need none, and mostly that is nearly all of the fleet.
 */
import { setImmediate as turn } from 'node:timers/promises'
import type { TimedAlerts } from '../telemetry/embedded/timed-alerts.ts'
import { devicesPerSlice, type Fleet, type FleetBlock, idsPerBlock, type Span } from './fleet.ts'
import type { ReadyRules } from './timed-rules.ts'

export interface FleetWatchOptions {
  readonly alerts: Pick<TimedAlerts, 'arrivedWithin' | 'endingPairs' | 'devicesCounted'>
  readonly fleet: Pick<Fleet, 'blocks'>
}

/** What is to be looked at. */
export interface News {
  /** Ascending; undefined: every device. */
  readonly devices: readonly number[] | undefined
  /** First ids of blocks of devices of which one came, went, or was changed; undefined: any may have been. */
  readonly blocks: readonly number[] | undefined
  /** To call when everything is judged: the next look tells what is new after this one. */
  readonly judged: () => void
}

/** A look at every device comes so often in any case, ms: it finds what a restored backup or a false clock has hidden. */
const wholeEveryMs = 30 * 60_000
/** With more durations or counts than these, a look at every device costs less. */
const maxSpans = 100
const maxWindows = 50
/** Pairs of one page. */
const pairsAtOnce = 1000

const idsOf = (text: string): number[] => (text === '' ? [] : text.split(',').map(Number))

/** Ids that stand in one of the texts only. */
const differing = (one: string, other: string): number[] => {
  if (one === other) return []
  const [before, after] = [new Set(idsOf(one)), new Set(idsOf(other))]
  return [...before].filter((id) => !after.has(id)).concat([...after].filter((id) => !before.has(id)))
}

interface Looked {
  readonly rules: ReadyRules
  /** Ms since the epoch. */
  readonly at: number
  readonly blocks: ReadonlyMap<number, FleetBlock>
}

export class FleetWatch {
  readonly #options: FleetWatchOptions
  #last: Looked | undefined
  /** By performance.now(): when every device was looked at. */
  #wholeAt = Number.NEGATIVE_INFINITY

  constructor(options: FleetWatchOptions) {
    this.#options = options
  }

  /** @param now milliseconds since the epoch: before anything else is read. @param closed tells to end early. */
  async look(rules: ReadyRules, now: number, closed: () => boolean): Promise<News> {
    const last = this.#last
    const began = performance.now()
    const silences = [...new Set(rules.rules.map(({ silenceMs }) => silenceMs))].filter((one) => one > 0)
    const isWhole =
      last?.rules !== rules ||
      now < last.at ||
      began - this.#wholeAt >= wholeEveryMs ||
      silences.length > maxSpans ||
      rules.windows.length > maxWindows
    const spans = silences.map((one): Span => ({ from: (last?.at ?? now) - one, to: now - one }))
    const madeIn = isWhole ? [] : spans
    const offline = rules.has('offline')
    const blocks = new Map<number, FleetBlock>()
    for (let after = 0; !closed(); ) {
      const some = await this.#options.fleet.blocks(after, now, { offline, madeIn })
      const end = some.at(-1)
      if (end === undefined) break
      for (const block of some) blocks.set(block.first, block)
      after = end.first + idsPerBlock - 1
      await turn()
    }
    const judged = () => {
      this.#last = { rules, at: now, blocks }
      if (isWhole) this.#wholeAt = began
    }
    if (last === undefined || isWhole) return { devices: undefined, blocks: undefined, judged }
    const changed = [...new Set([...last.blocks.keys(), ...blocks.keys()])].filter(
      (first) => last.blocks.get(first)?.print !== blocks.get(first)?.print,
    )
    const devices = new Set<number>()
    for (const first of changed) for (let id = first; id < first + idsPerBlock; id += 1) devices.add(id)
    for (const { first, offline: ids, made } of blocks.values()) {
      for (const id of differing(last.blocks.get(first)?.offline ?? '', ids)) devices.add(id)
      for (const id of idsOf(made)) devices.add(id)
    }
    await this.#addTold(devices, rules, spans, now)
    return { devices: [...devices].sort((one, other) => one - other), blocks: changed, judged }
  }

  /** Adds those of which readings, warnings and dead letters tell something new. */
  async #addTold(
    devices: Set<number>,
    { rules, windows }: ReadyRules,
    spans: readonly Span[],
    now: number,
  ): Promise<void> {
    const { alerts } = this.#options
    for (const id of await alerts.arrivedWithin(spans)) devices.add(id)
    for (const { least, within, kind } of windows)
      for (const id of await alerts.devicesCounted({ kind, since: now - within }, least)) devices.add(id)
    if (spans.length === 0 && windows.length === 0) return
    const silenceOf = new Map(rules.map(({ id, silenceMs }) => [id, silenceMs]))
    const arrived = Math.min(now, ...spans.map(({ to }) => to))
    for (let after = { deviceId: 0, ruleId: 0 }; ; ) {
      const pairs = await alerts.endingPairs(after, arrived, pairsAtOnce)
      for (const { deviceId, ruleId, lastAt } of pairs) {
        const silence = silenceOf.get(ruleId) ?? 0
        if (silence === 0 || lastAt > now - silence) devices.add(deviceId)
      }
      const end = pairs.at(-1)
      if (end === undefined || pairs.length < pairsAtOnce) return
      after = end
      await turn()
    }
  }
}

/** In slices of which each is read at once. */
export function* slicesOf(ids: readonly number[]): Generator<number[]> {
  for (let from = 0; from < ids.length; from += devicesPerSlice) yield ids.slice(from, from + devicesPerSlice)
}
