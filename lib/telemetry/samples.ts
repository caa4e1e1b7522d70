/** What readings say about alert rules: the interface between the intake, which has the values, and the alerts. */
import type { Sender } from './delivery.ts'
import type { FieldValue, Reading } from './reading.ts'

/** 1: the condition of the rule holds. -1: the condition under which its alert ends holds. 0: neither. */
export type Verdict = 1 | 0 | -1

/** What one reading says about one rule. */
export interface Sample {
  readonly rule: number
  /** Of the rule by which it was judged: a sample of another revision says nothing. */
  readonly revision: number
  /** Place of the reading in its message. */
  readonly at: number
  readonly verdict: Verdict
  readonly value: FieldValue
}

/** Times of clocks that are ahead by less are taken as they are, ns. */
const aheadNs = 1_000_000_000n

/**
 * The time at which a reading is judged, ns since the epoch: its own, where that is not ahead of its arrival. Else it would hide
 * all readings until then. Of several that are ahead, the order stays.
 * @param receivedAt milliseconds since the epoch.
 */
export function judgedTime(time: bigint, receivedAt: number): bigint {
  const latest = BigInt(receivedAt) * 1_000_000n + aheadNs
  return time <= latest ? time : latest + (time - latest) / 1000n
}

/** Judges readings by the alert rules that this process knows. */
export interface Sampler {
  /** Undefined when no rule is about these readings. */
  samplesOf(sender: Sender, readings: readonly Reading[]): readonly Sample[] | undefined
  /** Resolves when the rules are known well enough; undefined when they are, which is nearly always. Never rejects. */
  ready(): Promise<void> | undefined
}

/** The samples of some readings of a message, with their new places. @param places of these readings, ascending. */
export function samplesAt(
  samples: readonly Sample[] | undefined,
  places: readonly number[],
): readonly Sample[] | undefined {
  if (samples === undefined) return undefined
  const newPlaces = new Map(places.map((place, at) => [place, at]))
  const kept = samples.flatMap((sample) => {
    const at = newPlaces.get(sample.at)
    return at === undefined ? [] : [{ ...sample, at }]
  })
  return kept.length === 0 ? undefined : kept
}
