/** Statistics of paired measurements: how one checkout relates to the other, round by round. */
import { median } from './measure.ts'

export interface Comparison {
  /** One per round. */
  readonly ratios: readonly number[]
  readonly median: number
  /** The 95 % t interval of the logarithms of the ratios, as ratios; undefined for a single round. */
  readonly interval: { readonly low: number; readonly high: number } | undefined
}

/** 97.5 % quantiles of Student's t distribution for 1–30 degrees of freedom. */
const quantiles = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
  2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
]

/** Beyond the table an approximation whose error is below 0.001. */
const quantileOf = (degrees: number): number => quantiles[degrees - 1] ?? 1.96 + 2.46 / degrees

/**
 * Compares two checkouts that were measured in the same rounds. Logarithms are used because ratios of 2 and 0.5 are equally
 * far from 1.
 * @param pairs positive numbers, at least one pair.
 */
export function compare(pairs: readonly { readonly ours: number; readonly other: number }[]): Comparison {
  const ratios = pairs.map(({ ours, other }) => ours / other)
  const logarithms = ratios.map(Math.log)
  const count = logarithms.length
  const mean = logarithms.reduce((sum, value) => sum + value, 0) / count
  if (count < 2) return { ratios, median: median(ratios), interval: undefined }
  const squares = logarithms.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  const margin = quantileOf(count - 1) * Math.sqrt(squares / (count - 1) / count)
  const interval = { low: Math.exp(mean - margin), high: Math.exp(mean + margin) }
  return { ratios, median: median(ratios), interval }
}

/** Turns of a round: which goes first changes from round to round (A B B A …), so that a drift affects both alike. */
export const turnsOf = <T>(round: number, [first, second]: readonly [T, T]): readonly [T, T] =>
  round % 2 === 0 ? [first, second] : [second, first]
