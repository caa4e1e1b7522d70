/** What a sweep over the fleet asks the database of alerts, and what it changes there. */
import type { LetterCount } from './alert-counts.ts'
import { alertRequests } from './alert-requests.ts'
import type { ClearReason } from './alert-states.ts'
import type { Row } from './connection.ts'
import type { EmbeddedDatabase } from './database.ts'

/** A rule that is judged by the time. Target and condition are JSON. */
export interface StoredTimedRule {
  readonly id: number
  readonly revision: number
  readonly target: string
  readonly condition: string
  /** Milliseconds since the epoch. */
  readonly updatedAt: number
}

/** A rule at a device. */
export interface AlertedPair {
  readonly deviceId: number
  readonly ruleId: number
  /** JSON. */
  readonly target: string
}

/** Warnings or dead letters since a time, ms since the epoch. */
export interface CountWanted {
  readonly kind: 'warnings' | 'dead_letters'
  readonly since: number
}

/** What is known of some devices. */
export interface DeviceFacts {
  /** When the last reading of a device came, ms since the epoch. */
  readonly arrivals: ReadonlyMap<number, number>
  /** In the order in which they were asked for, by device. */
  readonly counts: readonly ReadonlyMap<number, number>[]
  /** By device the rules of which a sweep has said that their condition holds. */
  readonly breached: ReadonlyMap<number, ReadonlySet<number>>
}

/** What a sweep has found about a rule at a device. */
export interface TimedFinding {
  readonly rule: number
  readonly revision: number
  readonly deviceId: number
  /** Since when, ms since the epoch. */
  readonly at: number
  readonly verdict: 1 | -1
  /** Seconds, or a number of warnings or dead letters. */
  readonly value: number
}

const numbersOf = (rows: readonly Row[]): Map<number, number> =>
  new Map(rows.map(([device, number]) => [Number(device), Number(number)]))

const setsOf = (rows: readonly Row[]): Map<number, Set<number>> => {
  const sets = new Map<number, Set<number>>()
  for (const [device, rule] of rows) {
    const known = sets.get(Number(device))
    if (known === undefined) sets.set(Number(device), new Set([Number(rule)]))
    else known.add(Number(rule))
  }
  return sets
}

/** Behind which pair a page begins. */
export type PairPlace = Omit<AlertedPair, 'target'>

/** Pairs with an open alert, up to a device. */
export interface PairsWanted {
  readonly last?: number
  /** Instead those that wait for their time, which is over until then, ms since the epoch. */
  readonly due?: number
}

const toPair = ([deviceId, ruleId, target]: Row): AlertedPair => ({
  deviceId: Number(deviceId),
  ruleId: Number(ruleId),
  target: String(target),
})

const nsPerMs = 1_000_000n

/** All times are ms since the epoch. Every method may throw an {@link AppError} UNAVAILABLE. */
export class TimedAlerts {
  readonly #database: EmbeddedDatabase
  #version = -1
  /** Of the rules, to compare them. */
  #text = ''
  #rules: readonly StoredTimedRule[] = []

  constructor(database: EmbeddedDatabase) {
    this.#database = database
    database.learn(alertRequests)
  }

  /** The enabled rules that a sweep judges; the same list until one of them changes. */
  async rules(): Promise<readonly StoredTimedRule[]> {
    const rows = await this.#database.query('timedRules', { version: this.#version })
    const version = Number(rows[0]?.[0])
    if (version === this.#version) return this.#rules
    this.#version = version
    const text = JSON.stringify(
      rows.map(([, ...rule]) => rule),
      (_, value: unknown) => (typeof value === 'bigint' ? Number(value) : value),
    )
    // Other rules have changed: those that judge readings.
    if (text === this.#text) return this.#rules
    this.#text = text
    this.#rules = rows.flatMap(([, id, revision, target, condition, updatedAt]) =>
      id === null
        ? []
        : {
            id: Number(id),
            revision: Number(revision),
            target: String(target),
            condition: String(condition),
            updatedAt: Number(updatedAt),
          },
    )
    return this.#rules
  }

  /** @param wanted which facts the rules need; what is not wanted is left empty. */
  async facts(
    deviceIds: readonly number[],
    { arrivals, counts }: { readonly arrivals: boolean; readonly counts: readonly CountWanted[] },
  ): Promise<DeviceFacts> {
    const devices = JSON.stringify(deviceIds)
    const [breached, arrived, ...counted] = await Promise.all([
      this.#database.query('breachedPairs', { devices }),
      arrivals ? this.#database.query('deviceArrivals', { devices }) : [],
      ...counts.map(({ kind, since }) => this.#database.query('deviceCounts', { devices, kind, since })),
    ])
    return {
      arrivals: numbersOf(arrived ?? []),
      counts: counted.map(numbersOf),
      breached: setsOf(breached ?? []),
    }
  }

  /**
   * Writes what a sweep has found. Of a pair of which later things are known, it counts from then on: no alert begins before the end of
   * the one before it.
   */
  async judge(found: readonly TimedFinding[]): Promise<void> {
    const pairs = found.map(({ rule, deviceId }) => ({ rule, device: deviceId }))
    const known = await this.#database.query('judgedUntil', { pairs })
    const samples = found.map(({ at, ...one }, place) => {
      const [until = 0n] = (known[place] ?? []) as bigint[]
      const ts = BigInt(at) * nsPerMs
      return { ...one, ts: until > ts ? until : ts }
    })
    await this.#database.writer.change('judgeSamples', { samples })
  }

  /** Whether {@link tick} would change something. */
  async isAnythingDue(now: number): Promise<boolean> {
    return (await this.#database.query('dueState', { now: BigInt(now) * nsPerMs })).length > 0
  }

  /** Opens and clears what is due by the time alone. */
  tick(now: number): Promise<void> {
    return this.#database.writer.change('tickAlerts', { now: BigInt(now) * nsPerMs })
  }

  /**
   * Pairs with an open alert, or with one that opens by the time alone until `due`: the next ones, in the order of their devices.
   */
  async pairs(which: PairsWanted, after: PairPlace, limit: number): Promise<AlertedPair[]> {
    const { last = Number.MAX_SAFE_INTEGER, due } = which
    const place = { device: after.deviceId, rule: after.ruleId, last, limit }
    const rows =
      due === undefined
        ? await this.#database.query('openPairs', place)
        : await this.#database.query('pendingPairs', { ...place, due: BigInt(due) * nsPerMs })
    return rows.map(toPair)
  }

  /** As {@link pairs}, in the order of the ids of open alerts, behind an id: with each pair that id. */
  async newestPairs(after: number, limit: number): Promise<(AlertedPair & { readonly alertId: number })[]> {
    const rows = await this.#database.query('newestPairs', { after, limit })
    return rows.map(([id, ...pair]) => ({ alertId: Number(id), ...toPair(pair) }))
  }

  /** The id of the newest alert that was ever opened; 0 for none. */
  async newestAlert(): Promise<number> {
    const [row] = await this.#database.query('openedAlerts', {})
    return Number(row?.[0] ?? 0)
  }

  async countOpen(): Promise<number> {
    const [row] = await this.#database.query('countOpenAlerts', {})
    return Number(row?.[0] ?? 0)
  }

  /** Devices whose last reading came after `from`, and until `to`, of one of these spans. */
  async arrivedWithin(spans: readonly { readonly from: number; readonly to: number }[]): Promise<number[]> {
    if (spans.length === 0) return []
    const bounds = spans.map(({ from, to }) => [from, to] as const)
    return (await this.#database.query('arrivedWithin', { spans: bounds })).map(([id]) => Number(id))
  }

  /**
   * Pairs with an open alert that may have ended: about counts, and about silence where a reading came after `arrived`. With when
   * the last reading came.
   */
  async endingPairs(
    after: PairPlace,
    arrived: number,
    limit: number,
  ): Promise<(PairPlace & { readonly lastAt: number })[]> {
    const place = { device: after.deviceId, rule: after.ruleId, arrived, limit }
    const rows = await this.#database.query('endingPairs', place)
    return rows.map(([device, rule, lastAt]) => ({
      deviceId: Number(device),
      ruleId: Number(rule),
      lastAt: Number(lastAt),
    }))
  }

  /** Devices with at least so many warnings or dead letters. */
  async devicesCounted({ kind, since }: CountWanted, least: number): Promise<number[]> {
    return (await this.#database.query('devicesCounted', { kind, since, least })).map(([id]) => Number(id))
  }

  /** Clears all alerts of these devices. */
  clear(deviceIds: readonly number[], reason: ClearReason, now: number): Promise<void> {
    return this.#database.writer.change('clearAlerts', { deviceIds, reason, now: BigInt(now) * nsPerMs })
  }

  /** Clears alerts of devices that a rule is not about any more. */
  clearPairs(pairs: readonly Pick<AlertedPair, 'deviceId' | 'ruleId'>[], now: number): Promise<void> {
    const rows = pairs.map(({ deviceId, ruleId }) => [deviceId, ruleId] as const)
    return this.#database.writer.change('clearPairs', { pairs: rows, now: BigInt(now) * nsPerMs })
  }

  /** The newest dead letter that is counted; undefined while none is. */
  async countedLetters(): Promise<number | undefined> {
    const [row] = await this.#database.query('countedLetters', {})
    return row && Number(row[0])
  }

  /** Counts the letters behind `from` up to `to`, unless another process has counted them; `from` undefined: begins at `to`. */
  countLetters(from: number | undefined, to: number, counts: readonly LetterCount[]): Promise<void> {
    return this.#database.writer.change('countLetters', { from, to, counts })
  }

  stopCountingLetters(): Promise<void> {
    return this.#database.writer.change('stopCountingLetters', {})
  }
}
