/** Runs of a load, and their statistics. */
import { cpus } from 'node:os'

/** One run against one server. */
export interface Run {
  /** Acknowledged before the end of the run. */
  readonly completed: number
  /** All acknowledged, with those that came after the end of the run. */
  readonly acknowledged: number
  readonly seconds: number
  /** One per acknowledgement, ms. */
  readonly latencies: readonly number[]
  /** Every answer other than an acknowledgement, with its count. */
  readonly errors: ReadonlyMap<string, number>
  /** CPU of the load generator, µs; 0 where there is none. */
  readonly loadCpu: number
}

/** A server that can be measured. */
export interface Contender {
  readonly name: string
  run(seconds: number): Promise<Run>
  /** CPU that its process has used so far, µs. */
  cpu(): Promise<number>
  /** Resident memory of its process, bytes. */
  rss?(): Promise<number>
}

/** Figures of all rounds of one contender. */
export interface Result {
  readonly name: string
  /** Per second, one for each round. */
  readonly rates: readonly number[]
  readonly medianRate: number
  /** ms, over all rounds. */
  readonly p50: number
  readonly p95: number
  readonly p99: number
  /** Acknowledged in all rounds. */
  readonly acknowledged: number
  /** Of the server after the last round, bytes. */
  readonly rss?: number
  /** µs per acknowledgement. */
  readonly serverCpu: number
  readonly loadCpu: number
  /** Share of the machine's CPU that other processes used. */
  readonly others: number
}

/** The measurement failed and has no valid figures. The message is for the user. */
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

/** µs since the machine started, all processors together. */
const machineTimes = (): { busy: number; all: number } => {
  let busy = 0
  let idle = 0
  for (const { times } of cpus()) {
    busy += times.user + times.nice + times.sys + times.irq
    idle += times.idle
  }
  return { busy: busy * 1000, all: (busy + idle) * 1000 }
}

interface Measured {
  readonly run: Run
  /** Of the server, µs. */
  readonly cpu: number
  /** Of the machine, µs. */
  readonly busy: number
  readonly all: number
}

export const checkRun = (name: string, run: Run): Run => {
  if (run.errors.size > 0) {
    const found = [...run.errors].map(([what, count]) => `${count} × ${what}`).join('; ')
    throw new BenchError(`${name}: ${found}`)
  }
  if (run.acknowledged === 0) throw new BenchError(`${name}: nothing was acknowledged in ${run.seconds} s`)
  return run
}

const resultOf = (name: string, measured: readonly Measured[], rss: number | undefined): Result => {
  const sum = (of: (one: Measured) => number) => measured.reduce((all, one) => all + of(one), 0)
  const rates = measured.map(({ run }) => run.completed / run.seconds)
  const latencies = measured.flatMap(({ run }) => run.latencies).sort((a, b) => a - b)
  const acknowledged = sum(({ run }) => run.acknowledged)
  const [serverCpu, loadCpu] = [sum(({ cpu }) => cpu), sum(({ run }) => run.loadCpu)]
  return {
    name,
    rates,
    medianRate: median(rates),
    p50: quantile(latencies, 0.5),
    p95: quantile(latencies, 0.95),
    p99: quantile(latencies, 0.99),
    acknowledged,
    ...(rss === undefined ? {} : { rss }),
    serverCpu: serverCpu / acknowledged,
    loadCpu: loadCpu / acknowledged,
    others: Math.max(0, sum(({ busy }) => busy) - serverCpu - loadCpu) / sum(({ all }) => all),
  }
}

const restMs = 200
/** Share of one processor that an idle server may use. */
const restShare = 0.05
const mostRests = 50

/**
 * Waits until every server is idle, so that postponed work of one is not measured as work of the next.
 * @throws {BenchError} when a server still works after 10 s.
 */
export const settle = async (contenders: readonly Pick<Contender, 'cpu'>[]): Promise<void> => {
  const used = async () => {
    let sum = 0
    for (const contender of contenders) sum += await contender.cpu()
    return sum
  }
  let before = await used()
  for (let rest = 0; rest < mostRests; rest += 1) {
    await new Promise((resolve) => setTimeout(resolve, restMs))
    const now = await used()
    if (now - before < restMs * 1000 * restShare) return
    before = now
  }
  throw new BenchError(`a server still works ${(restMs * mostRests) / 1000} s after its run`)
}

/**
 * Runs the contenders by turns, so that disturbances affect all of them. Each has a warm-up before.
 * @param onRun is called after every run; warm-ups are round 0.
 * @throws {BenchError} when a request was not acknowledged.
 */
export async function interleave(
  contenders: readonly Contender[],
  { rounds, seconds, warmUp }: { rounds: number; seconds: number; warmUp: number },
  onRun: (contender: Contender, run: Run, round: number) => void,
): Promise<Result[]> {
  const measured = new Map<Contender, Measured[]>(contenders.map((one) => [one, []]))
  for (let round = 0; round <= rounds; round++) {
    for (const contender of contenders) {
      await settle(contenders)
      const before = { cpu: await contender.cpu(), ...machineTimes() }
      const run = checkRun(contender.name, await contender.run(round === 0 ? warmUp : seconds))
      const after = machineTimes()
      const cpu = (await contender.cpu()) - before.cpu
      onRun(contender, run, round)
      const one = { run, cpu, busy: after.busy - before.busy, all: after.all - before.all }
      if (round > 0) measured.get(contender)?.push(one)
    }
  }
  return Promise.all(
    contenders.map(async (one) => resultOf(one.name, measured.get(one) ?? [], await one.rss?.())),
  )
}
