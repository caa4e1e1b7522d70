/** The requests that read telemetry, by name. A process that only takes readings makes none of them. */
import { aggregateQueries } from './aggregate.ts'
import { latestQueries } from './latest.ts'
import { readingQueries } from './readings.ts'
import type { RequestTable } from './requests.ts'

export const readingRequests = {
  queries: { ...readingQueries, ...latestQueries, ...aggregateQueries },
  changes: {},
} satisfies RequestTable
