/** Rows of the table of goals: what every benchmark writes with `--json`, and `docs/performance.md` is made from. */
import { writeFile } from 'node:fs/promises'
import { median, quantile } from './measure.ts'
import { type Comparison, compare } from './ratios.ts'

/** What one program needed for a scenario; what was not measured is left out. */
export interface Figures {
  readonly name: string
  /** Per second, median of the rounds. */
  readonly rate?: number
  /** ms. */
  readonly p50?: number
  readonly p95?: number
  readonly p99?: number
  /** CPU µs of the server per message (reading, query). */
  readonly cpu?: number
  /** Resident memory of the server after the last round, bytes. */
  readonly rss?: number
  readonly sent?: number
  readonly acknowledged?: number
  readonly stored?: number
}

/** A figure that is compared with a bound: `ratio` is ours to the floor or peer, or ours to the bound where that is a plain number. */
export interface GoalRow {
  readonly scenario: string
  /** In words: `at least 1.2 × Telegraf`. */
  readonly goal: string
  /** Bound of the ratio. */
  readonly bound: number
  /** Whether the ratio must be at least or at most the bound. */
  readonly side: 'least' | 'most'
  readonly ratio: Comparison
  readonly ours: Figures
  readonly floor?: Figures
  readonly peer?: Figures
  /** A program that does only what ours cannot avoid, and its ratio to the floor. */
  readonly bare?: { readonly figures: Figures; readonly ratio: Comparison }
  /** Prints the row again. */
  readonly command: string
}

/** `yes` when the median of the ratios reaches the bound, `within noise` when only their 95 % interval does. */
export function reachOf({
  bound,
  side,
  ratio: { median, interval },
}: GoalRow): 'yes' | 'within noise' | 'no' {
  const reaches = (value: number) => (side === 'least' ? value >= bound : value <= bound)
  if (reaches(median)) return 'yes'
  const best = side === 'least' ? interval?.high : interval?.low
  return best !== undefined && reaches(best) ? 'within noise' : 'no'
}

/** A row is met when the median of its ratios, or their 95 % interval, reaches the bound. */
export const isMet = (row: GoalRow): boolean => reachOf(row) !== 'no'

/** A goal that is a plain number, such as "at most 2 ms": its ratio is the figure of each round to that number, its bound 1. */
export const compareWithBound = (figures: readonly number[], bound: number): Comparison =>
  compare(figures.map((ours) => ({ ours, other: bound })))

/** What one program did in one round: CPU µs per message, messages per second, and ms of each, ascending. */
export interface Round {
  readonly cpu: number
  readonly rate: number
  readonly latencies: readonly number[]
}

/** Medians of the rates and of the CPU, and quantiles of all latencies. */
export function figuresOfRounds(name: string, rounds: readonly Round[]): Figures {
  const latencies = rounds.flatMap((round) => round.latencies).sort((a, b) => a - b)
  return {
    name,
    rate: median(rounds.map(({ rate }) => rate)),
    p50: quantile(latencies, 0.5),
    p95: quantile(latencies, 0.95),
    p99: quantile(latencies, 0.99),
    cpu: median(rounds.map(({ cpu }) => cpu)),
  }
}

export const writeRows = (file: string, rows: readonly GoalRow[]): Promise<void> =>
  writeFile(file, `${JSON.stringify({ rows }, undefined, 2)}\n`)
