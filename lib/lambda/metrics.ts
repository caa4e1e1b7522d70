/** Metrics of deployed functions: lines of the log from which CloudWatch makes metrics (the embedded metric format). */
import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics'
import type { Count, CountName } from '../counts.ts'
import { beforeEachAnswer } from './handler.ts'

/** Where alarms and the dashboard look for them. */
export const metricNamespace = 'IoTFlow'
export const metricService = 'iotflow'

/**
 * Writes what was counted as one line before each answer of a handler; no line when nothing was counted. The dimensions are
 * `service` and `stage`: an id of a device in them would be a metric of its own, with its price.
 */
export function countInCloudWatch(stage: string): Count {
  const metrics = new Metrics({
    namespace: metricNamespace,
    serviceName: metricService,
    defaultDimensions: { stage },
  })
  const counted = new Map<CountName, number>()
  beforeEachAnswer(async () => {
    if (counted.size === 0) return
    for (const [name, count] of counted) metrics.addMetric(name, MetricUnit.Count, count)
    counted.clear()
    metrics.publishStoredMetrics()
  })
  return (name, by = 1) => {
    if (by > 0) counted.set(name, (counted.get(name) ?? 0) + by)
  }
}
