/** What one run of a load found, and what several runs say together. */

/** One run against one server. */
export interface Run {
  /** Acknowledged while the clock ran. */
  readonly completed: number
  /** Acknowledged in all: what was under way when the clock stopped is waited for. */
  readonly acknowledged: number
  readonly seconds: number
  /** One per acknowledgement, ms. */
  readonly latencies: readonly number[]
  /** What went wrong, with how often; anything but an acknowledgement. */
  readonly errors: ReadonlyMap<string, number>
  /** CPU of the load generator, µs; 0 where there is none. */
  readonly loadCpu: number
}

/** A server that can be measured. */
export interface Contender {
  readonly name: string
  run(seconds: number): Promise<Run>
  /** CPU its process has used so far, µs. */
  cpu(): Promise<number>
}

/** All rounds of one contender. */
export interface Result {
  readonly name: string
  /** Per second, one for each round. */
  readonly rates: readonly number[]
  readonly medianRate: number
  /** ms, over all rounds. */
  readonly p50: number
  readonly p99: number
  /** µs per acknowledgement. */
  readonly serverCpu: number
  readonly loadCpu: number
}

/** The measurement itself went wrong: its figures would mean nothing. The message is for the person who started it. */
export class BenchError extends Error {
  override readonly name = 'BenchError'
}

/** @param sorted ascending, not empty. */
export const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return (quantile(sorted, 0.5) + (sorted[Math.ceil(sorted.length / 2) - 1] ?? Number.NaN)) / 2
}

const checked = (name: string, run: Run): Run => {
  if (run.errors.size > 0) {
    const found = [...run.errors].map(([what, count]) => `${count} × ${what}`).join('; ')
    throw new BenchError(`${name}: ${found}`)
  }
  if (run.completed === 0) throw new BenchError(`${name}: nothing was acknowledged in ${run.seconds} s`)
  return run
}

/**
 * Runs the contenders in turns, so that what disturbs the machine disturbs all of them; a warm-up of each comes first.
 * @param onRun hears of every run, warm-ups too (round 0).
 * @throws {BenchError} when a single request was not acknowledged.
 */
export async function interleave(
  contenders: readonly Contender[],
  { rounds, seconds, warmUp }: { rounds: number; seconds: number; warmUp: number },
  onRun: (contender: Contender, run: Run, round: number) => void,
): Promise<Result[]> {
  const runs = new Map<Contender, { run: Run; cpu: number }[]>(contenders.map((one) => [one, []]))
  for (let round = 0; round <= rounds; round++) {
    for (const contender of contenders) {
      const before = await contender.cpu()
      const run = checked(contender.name, await contender.run(round === 0 ? warmUp : seconds))
      const cpu = (await contender.cpu()) - before
      onRun(contender, run, round)
      if (round > 0) runs.get(contender)?.push({ run, cpu })
    }
  }
  return contenders.map((contender) => {
    const own = runs.get(contender) ?? []
    const sum = (of: (one: { run: Run; cpu: number }) => number) => own.reduce((all, one) => all + of(one), 0)
    const rates = own.map(({ run }) => run.completed / run.seconds)
    const latencies = own.flatMap(({ run }) => run.latencies).sort((a, b) => a - b)
    const acknowledged = sum(({ run }) => run.acknowledged)
    return {
      name: contender.name,
      rates,
      medianRate: median(rates),
      p50: quantile(latencies, 0.5),
      p99: quantile(latencies, 0.99),
      serverCpu: sum(({ cpu }) => cpu) / acknowledged,
      loadCpu: sum(({ run }) => run.loadCpu) / acknowledged,
    }
  })
}
