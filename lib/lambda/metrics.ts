/** Metrics of deployed functions: lines of the log from which CloudWatch makes metrics (the embedded metric format). */
import type { Count, CountName } from '../counts.ts'
import { beforeEachAnswer } from './handler.ts'

/** Where alarms and the dashboard look for them. */
export const metricNamespace = 'IoTFlow'
export const metricService = 'iotflow'

const lineOf = (stage: string, counted: ReadonlyMap<CountName, number>): string =>
  JSON.stringify({
    _aws: {
      Timestamp: Date.now(),
      CloudWatchMetrics: [
        {
          Namespace: metricNamespace,
          Dimensions: [['service', 'stage']],
          Metrics: [...counted.keys()].map((Name) => ({ Name, Unit: 'Count' })),
        },
      ],
    },
    service: metricService,
    stage,
    ...Object.fromEntries(counted),
  })

/**
 * Writes what was counted as one line before each answer of a handler; no line when nothing was counted. The dimensions are
 * `service` and `stage`: an id of a device in them would be a metric of its own, with its price.
 */
export function countInCloudWatch(stage: string): Count {
  const counted = new Map<CountName, number>()
  beforeEachAnswer(async () => {
    if (counted.size === 0) return
    const line = lineOf(stage, counted)
    counted.clear()
    process.stdout.write(`${line}\n`)
  })
  return (name, by = 1) => {
    if (by > 0) counted.set(name, (counted.get(name) ?? 0) + by)
  }
}
