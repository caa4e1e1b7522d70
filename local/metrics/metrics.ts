/** The metrics of `npm start`. The library that writes them is loaded by the first question. */
import type { IngestMetrics } from '../../lib/dashboard/ingest-metrics.ts'
import type { LiveUpdates } from '../../lib/dashboard/live-updates.ts'
import type { MetricsFormat } from '../../lib/dashboard/metrics-page.ts'
import type { Overview } from '../../lib/dashboard/overview.ts'
import { Histogram } from '../../lib/histogram.ts'
import type { RefusalKind } from '../../lib/http/access-control.ts'
import type { ProcessMetrics } from '../../lib/runtime.ts'
import { Tally } from '../../lib/tally.ts'
import type { StoreOperation } from '../../lib/telemetry/timed-store.ts'
import type { DeliveryQueue, Outcome, QueueState } from '../../lib/webhooks/delivery-queue.ts'

export interface MetricsSources {
  readonly ingest: IngestMetrics
  readonly liveUpdates: Pick<LiveUpdates, 'count'> | undefined
  readonly overview: () => Promise<Pick<Overview, 'read'>>
  readonly webhooks: () => Promise<Pick<DeliveryQueue, 'state'>>
}

/** What the page of one moment shows. */
export interface Shown {
  readonly ingest: IngestMetrics
  readonly operations: ReadonlyMap<StoreOperation, Histogram>
  readonly alertSweeps: Histogram
  readonly refusals: ProcessMetrics['refusals']
  readonly streams: number
  readonly webhooks: Tally<Outcome>
  /** Undefined while it cannot be read. */
  readonly webhookQueue: QueueState | undefined
  /** Undefined while it cannot be read. */
  readonly overview: Awaited<ReturnType<Overview['read']>> | undefined
}

/** Seconds. */
const sweepBounds = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const storeBounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

export class Metrics implements ProcessMetrics {
  readonly webhooks = new Tally<Outcome>()
  readonly refusals = { http: new Tally<RefusalKind>(), mqtt: new Tally<string>() }
  readonly #sources: MetricsSources
  readonly #operations = new Map<StoreOperation, Histogram>()
  readonly #alertSweeps = new Histogram(sweepBounds)
  readonly #registries: Partial<Record<MetricsFormat, Promise<{ metrics(): Promise<string> }>>> = {}
  #overview: Shown['overview']
  #webhookQueue: Shown['webhookQueue']

  constructor(sources: MetricsSources) {
    this.#sources = sources
  }

  readonly storeOperation = (operation: StoreOperation, ms: number): void => {
    const histogram = this.#operations.get(operation) ?? new Histogram(storeBounds)
    this.#operations.set(operation, histogram)
    histogram.observe(ms / 1000)
  }

  readonly alertSweep = (ms: number): void => {
    this.#alertSweeps.observe(ms / 1000)
  }

  async write(format: MetricsFormat): Promise<string> {
    const { overview, webhooks } = this.#sources
    this.#overview = await overview()
      .then((one) => one.read())
      .catch(() => undefined)
    this.#webhookQueue = await webhooks()
      .then((queue) => queue.state())
      .catch(() => undefined)
    this.#registries[format] ??= import('./registry.ts').then(({ makeRegistry }) =>
      makeRegistry(format, () => this.#shown()),
    )
    return (await this.#registries[format]).metrics()
  }

  #shown(): Shown {
    const { ingest, liveUpdates } = this.#sources
    return {
      ingest,
      operations: this.#operations,
      alertSweeps: this.#alertSweeps,
      refusals: this.refusals,
      streams: liveUpdates?.count ?? 0,
      webhooks: this.webhooks,
      webhookQueue: this.#webhookQueue,
      overview: this.#overview,
    }
  }
}
