/** Calls the functions that serverless.yml schedules, as EventBridge does in the cloud. */
import pTimeout from 'p-timeout'
import type { Log } from '../lib/log.ts'

/** A function that runs again and again. */
export interface Schedule {
  readonly functionName: string
  /** Time between two runs in the cloud, ms. */
  readonly everyMs: number
}

export interface SchedulesOptions {
  readonly schedules: readonly Schedule[]
  invoke(functionName: string, event: object): Promise<unknown>
  readonly log: Log
}

/** The shortest rate in the cloud is a minute. Here runs cost no money, so that these and the first ones come sooner, ms. */
const soonMs = 20_000
const minuteMs = 60_000

/** Time that a run gets when the server ends, ms. */
const closeWaitMs = 2000

const unitMs = { minute: 60_000, hour: 3_600_000, day: 86_400_000 } as const

/**
 * The time between two runs, ms.
 * @param rate as serverless.yml has it: `rate(5 minutes)`.
 * @throws {Error} for anything else.
 */
export function rateMs(rate: string): number {
  const [, number, unit] = /^rate\((\d+) (minute|hour|day)s?\)$/.exec(rate) ?? []
  const ms = Number(number) * unitMs[unit as keyof typeof unitMs]
  if (!(ms > 0))
    throw new Error(`serverless.yml: a schedule is rate(<n> minutes), hours or days, not ${rate}.`)
  return ms
}

/** Runs each function after a pause, again and again; never the same one twice at a time. */
export class Schedules {
  readonly #options: SchedulesOptions
  readonly #timers: NodeJS.Timeout[]
  readonly #running = new Map<string, Promise<void>>()

  constructor(options: SchedulesOptions) {
    this.#options = options
    this.#timers = options.schedules.flatMap(({ functionName, everyMs }) => {
      const run = () => void this.run(functionName)
      if (everyMs <= minuteMs) return setInterval(run, Math.min(everyMs, soonMs)).unref()
      // A process that is started every day would never come to what runs once a day.
      return [setTimeout(run, soonMs).unref(), setInterval(run, everyMs).unref()]
    })
  }

  /** Runs a function now, unless it runs already; resolves at its end, also when it fails. */
  run(functionName: string): Promise<void> {
    const running = this.#running.get(functionName) ?? this.#invoke(functionName)
    this.#running.set(functionName, running)
    return running
  }

  /** Starts nothing more. Resolves when what runs has ended, or after 2 s: the rest is done by the next run. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    await pTimeout(Promise.all(this.#running.values()), {
      milliseconds: closeWaitMs,
      fallback: () => undefined,
    })
  }

  async #invoke(functionName: string): Promise<void> {
    const { invoke, log } = this.#options
    try {
      await invoke(functionName, { source: 'aws.events', 'detail-type': 'Scheduled Event' })
    } catch (error) {
      log.error('scheduled function failed', { function: functionName, error })
    } finally {
      this.#running.delete(functionName)
    }
  }
}
