/** The metrics as prom-client writes them. Its own, of the process and the event loop, begin with the first question. */
import {
  Counter,
  collectDefaultMetrics,
  Gauge,
  type Metric,
  type OpenMetricsContentType,
  type PrometheusContentType,
  Registry,
} from 'prom-client'
import type { MetricsFormat } from '../../lib/dashboard/metrics-page.ts'
import type { Histogram } from '../../lib/histogram.ts'
import { version } from '../../lib/version.ts'
import type { Shown } from './metrics.ts'

type AnyRegistry = Registry<PrometheusContentType | OpenMetricsContentType>
type Labels = Readonly<Record<string, string>>
type Sample = readonly [labels: Labels, value: number]
type Read<T> = (shown: Shown) => T

/** The names of all labels: prom-client refuses one that was not declared. */
const labelNames = [
  'outcome',
  'door',
  'code',
  'operation',
  'status',
  'kind',
  'version',
  'severity',
  'transition',
]

/** @param shown what is shown at the moment of the question. */
export function makeRegistry(format: MetricsFormat, shown: () => Shown): AnyRegistry {
  // prom-client renames counters for OpenMetrics: that needs a registry of its own for each format.
  const registry: AnyRegistry = new Registry()
  if (format === 'openmetrics') registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE)
  collectDefaultMetrics({ register: registry })
  // Gauges with the suffix of counters, which promtool and OpenMetrics refuse.
  for (const name of ['handles', 'requests', 'resources'])
    registry.removeSingleMetric(`nodejs_active_${name}_total`)
  const page = new Page(registry, shown)
  addIngest(page)
  addState(page)
  addAlerts(page)
  addWebhooks(page)
  addOthers(page)
  return registry
}

/** Adds metrics whose samples are read when somebody asks. */
class Page {
  readonly #registry: AnyRegistry
  readonly #shown: () => Shown

  constructor(registry: AnyRegistry, shown: () => Shown) {
    this.#registry = registry
    this.#shown = shown
  }

  counter(name: string, help: string, read: Read<Sample[]>): void {
    const samples = () => read(this.#shown())
    new Counter({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset()
        for (const [labels, value] of samples()) this.inc({ ...labels }, value)
      },
    })
  }

  gauge(name: string, help: string, read: Read<Sample[]>): void {
    const samples = () => read(this.#shown())
    new Gauge({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset()
        for (const [labels, value] of samples()) this.set({ ...labels }, value)
      },
    })
  }

  /** A registry asks a metric for its name, help, type and samples: a histogram that counts itself has just these. */
  histogram(name: string, help: string, read: Read<(readonly [Labels, Histogram])[]>): void {
    const bucket = (labels: Labels, le: number | '+Inf', value: number | undefined) => ({
      metricName: `${name}_bucket`,
      labels: { ...labels, le },
      value,
    })
    const values = () =>
      read(this.#shown()).flatMap(([labels, histogram]) => {
        const counts = histogram.cumulative()
        return [
          ...histogram.bounds.map((bound, at) => bucket(labels, bound, counts[at])),
          bucket(labels, '+Inf', counts.at(-1)),
          { metricName: `${name}_sum`, labels, value: histogram.sum },
          { metricName: `${name}_count`, labels, value: counts.at(-1) },
        ]
      })
    const about = { name, help, type: 'histogram' }
    const metric = { ...about, get: async () => ({ ...about, values: values() }) }
    this.#registry.registerMetric(metric as unknown as Metric)
  }

  /** A number of the overview, which the dashboard shows, too; left out while it is unknown. */
  number(name: string, help: string, read: (overview: Body) => number | boolean | null | undefined): void {
    this.gauge(name, help, ({ overview }) => {
      const value = overview && read(overview)
      return value === null || value === undefined ? [] : [[{}, Number(value)]]
    })
  }
}

type Body = NonNullable<Shown['overview']>

const addIngest = (page: Page): void => {
  page.counter('iotflow_ingest_readings_total', 'Readings by what became of them.', ({ ingest }) =>
    Object.entries(ingest.readings).map(([outcome, count]) => [{ outcome }, count]),
  )
  page.counter('iotflow_ingest_failures_total', 'Messages of which nothing was kept.', ({ ingest }) =>
    [...ingest.failures].map(([door, { count }]) => [{ door }, count]),
  )
  page.counter('iotflow_ingest_warnings_total', 'Warnings about readings that were stored.', ({ ingest }) =>
    ingest.warnings.entries().map(([code, count]) => [{ code }, count]),
  )
  page.histogram(
    'iotflow_ingest_latency_seconds',
    'From the hand-over of a message until its readings were durable.',
    ({ ingest }) => [...ingest.latencies].map(([door, histogram]) => [{ door }, histogram]),
  )
  page.histogram('iotflow_ingest_batch_messages', 'Messages of one batch.', ({ ingest }) => [
    [{}, ingest.batchMessages],
  ])
  page.histogram('iotflow_ingest_batch_seconds', 'Time to write one batch.', ({ ingest }) => [
    [{}, ingest.batchSeconds],
  ])
  page.histogram(
    'iotflow_store_operation_seconds',
    'Time of one operation of the telemetry store.',
    ({ operations }) => [...operations].map(([operation, histogram]) => [{ operation }, histogram]),
  )
}

const addState = (page: Page): void => {
  page.gauge('iotflow_devices', 'Devices by status.', ({ overview }) =>
    Object.entries(overview?.devices.by_status ?? {}).map(([status, count]) => [{ status }, count]),
  )
  page.number('iotflow_devices_online', 'Devices that are online.', ({ devices }) => devices.online)
  page.number('iotflow_spool_readings', 'Readings that wait for the store.', ({ spool }) => spool?.depth)
  page.number(
    'iotflow_spool_oldest_age_seconds',
    'Age of the oldest message that waits; 0 for none.',
    ({ spool }) => spool && (spool.oldest_age_s ?? 0),
  )
  page.number('iotflow_dead_letters', 'Messages that could not be stored.', (one) => one.dead_letters.count)
  page.number(
    'iotflow_accounting_difference_readings',
    'Received readings that the account does not explain.',
    ({ accounting }) => accounting?.difference,
  )
  page.number(
    'iotflow_store_up',
    'Whether the telemetry store can be used.',
    ({ storage }) => storage.status === 'healthy',
  )
  page.number('iotflow_mqtt_up', 'Whether the broker answers.', ({ broker }) =>
    broker.kind === 'none' ? null : broker.connected,
  )
  page.number(
    'iotflow_mqtt_connections',
    'Clients of the embedded broker.',
    ({ broker }) => broker.connections,
  )
}

const addAlerts = (page: Page): void => {
  page.gauge('iotflow_alerts_open', 'Open alerts by severity.', ({ overview }) =>
    Object.entries(overview?.alerts?.open ?? {}).map(([severity, count]) => [{ severity }, count]),
  )
  page.counter('iotflow_alerts_transitions_total', 'Alerts that were opened and cleared.', ({ overview }) => {
    if (!overview?.alerts) return []
    const { open, opened_total: opened } = overview.alerts
    const cleared = opened - open.critical - open.warning - open.info
    return [
      [{ transition: 'opened' }, opened],
      [{ transition: 'cleared' }, Math.max(cleared, 0)],
    ]
  })
  page.histogram(
    'iotflow_alerts_sweep_seconds',
    'Time of one look at the fleet for alerts.',
    ({ alertSweeps }) => [[{}, alertSweeps]],
  )
}

const addWebhooks = (page: Page): void => {
  page.counter('iotflow_webhook_attempts_total', 'Attempts to tell webhooks by what came of them.', (shown) =>
    shown.webhooks.entries().map(([outcome, count]) => [{ outcome }, count]),
  )
  page.gauge('iotflow_webhook_pending', 'Deliveries to webhooks that wait.', ({ webhookQueue: queue }) =>
    queue === undefined ? [] : [[{}, queue.pending]],
  )
  page.gauge(
    'iotflow_webhook_oldest_age_seconds',
    'Age of the oldest event that waits for a webhook; 0 for none.',
    ({ webhookQueue: queue }) =>
      queue === undefined
        ? []
        : [[{}, queue.oldestAt === null ? 0 : Math.max(0, Date.now() - queue.oldestAt) / 1000]],
  )
}

const addOthers = (page: Page): void => {
  page.counter('iotflow_auth_failures_total', 'Callers that were refused.', ({ refusals }) =>
    Object.entries(refusals).flatMap(([door, tally]) =>
      tally.entries().map(([kind, count]): Sample => [{ door, kind }, count]),
    ),
  )
  page.gauge('iotflow_dashboard_streams', 'Dashboards that get live updates.', ({ streams }) => [
    [{}, streams],
  ])
  page.gauge('iotflow_build_info', 'The version of IoTFlow.', () => [[{ version }, 1]])
}
