/** The parameters and answers that the endpoints of telemetry share. */
import * as z from 'zod'
import { given, pageLimit } from '../parameters.ts'
import { durationPattern, instantPattern } from './patterns.ts'
import type { Reading } from './reading.ts'
import { aggregations } from './store.ts'
import { cursorPattern } from './telemetry.ts'
import { formatTime, parseDuration, parseInstant } from './time.ts'

/** Readings of one answer; a larger `limit` is lowered to it. */
export const maxLimit = 10_000
/** JSON of one answer, bytes: a Lambda's answer ends at 6 MB. */
export const maxAnswerBytes = 4 * 1024 * 1024

const maxFields = 64
const fieldName = /^[A-Za-z0-9.:-][A-Za-z0-9_.:-]{0,127}$/

/** Now, in nanoseconds since the epoch. */
export const nowNs = (): bigint => BigInt(Date.now()) * 1_000_000n

const writtenInstant = z.string().meta({
  id: 'Instant',
  description:
    'ISO 8601 (UTC where it names no offset), an epoch in s, ms, µs or ns by its magnitude, or a time back from now such as `-1h`.',
  pattern: `^(?:${instantPattern})$`,
  examples: ['-1h', '2026-01-31T12:00:00Z', '1769860800'],
})

const instant = writtenInstant.transform((text, issue) => {
  const time = parseInstant(text, nowNs())
  if (time !== undefined) return time
  issue.addIssue('must be ISO 8601, an epoch, or a time back from now such as -1h')
  return z.NEVER
})

const field = z
  .string()
  .regex(fieldName, 'must be the name of a field')
  .meta({ examples: ['temperature'] })
const fieldPattern = fieldName.source.slice(1, -1)

export const HistoryParameters = z.object({
  start_time: given(instant),
  end_time: given(instant),
  fields: given(
    z
      .string()
      .meta({
        description: `Only these fields, at most ${maxFields} names with commas between them.`,
        pattern: `^${fieldPattern}(?:,${fieldPattern}){0,${maxFields - 1}}$`,
        examples: ['temperature,humidity'],
      })
      .transform((text) => text.split(','))
      .pipe(z.array(field).max(maxFields, `must name at most ${maxFields} fields`)),
  ),
  limit: given(pageLimit(maxLimit)),
  order: given(z.enum(['asc', 'desc'], 'must be asc or desc')),
  cursor: given(
    z.string().max(64).meta({
      description: 'Continues behind the page before: its `next_cursor`, or the `X-Next-Cursor` header.',
      pattern: cursorPattern.source,
      maxLength: undefined,
    }),
  ),
  format: given(z.enum(['json', 'csv', 'ndjson'], 'must be json, csv or ndjson')),
})

const writtenDuration = z.string().meta({
  id: 'Duration',
  description: 'How long a window is: a number and `s`, `m`, `h`, `d` or `w`, at most 36,500 days.',
  pattern: `^(?:${durationPattern})$`,
  examples: ['1h', '5m'],
})

export const AggregateParameters = z.object({
  start_time: given(instant),
  end_time: given(instant),
  field: given(z.union([z.literal('*'), field], 'must be the name of a field, or *')),
  aggregation: given(z.enum(aggregations, `must be one of ${aggregations.join(', ')}`)),
  window: given(
    writtenDuration.transform((text, issue) => {
      const duration = parseDuration(text)
      if (duration !== undefined) return duration
      issue.addIssue('must be a duration such as 30s, 5m, 1h, 1d or 1w')
      return z.NEVER
    }),
  ),
})

/** The range a reading can lie in, the end after the last. */
export const allTime = { from: 0n, to: 2n ** 63n - 1n } as const

export const RemovalRange = z.object({ start_time: instant, stop_time: instant }, 'must be a JSON object')

const dayNs = 86_400_000_000_000n

/** Readings may be a day ahead of our clock; a list shows them too. */
export const openEnd = (): bigint => nowNs() + 2n * dayNs

/** Windows up to now; the millisecond that is running belongs to it. */
export const presentEnd = (): bigint => nowNs() + 1_000_000n

/** A reading as answers show it. */
export const readingView = ({ time, fields, metadata }: Reading) => ({
  timestamp: formatTime(time),
  ...fields,
  ...(metadata === undefined ? {} : { metadata }),
})

const csvCell = (value: unknown): string => {
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** RFC 4180: a header line, one line a reading, a column for every field that one of them has. */
export function toCsv(readings: readonly Reading[]): string {
  const names = [...new Set(readings.flatMap((reading) => Object.keys(reading.fields)))].sort()
  const columns = [
    'timestamp',
    ...names,
    ...(readings.some((reading) => reading.metadata) ? ['metadata'] : []),
  ]
  const lines = readings.map((reading) => {
    const view: Record<string, unknown> = readingView(reading)
    return columns.map((name) => (Object.hasOwn(view, name) ? csvCell(view[name]) : '')).join(',')
  })
  return [columns.map(csvCell).join(','), ...lines, ''].join('\r\n')
}

/** Bytes of {@link toCsv}, reading by reading: a name that is new widens every line before. */
export function csvBytes(): (reading: Reading) => number {
  const names = new Set<string>()
  let lines = 1
  return (reading) => {
    let bytes = 0
    for (const [name, value] of Object.entries(reading.fields)) {
      bytes += Buffer.byteLength(csvCell(value))
      if (names.has(name)) continue
      names.add(name)
      bytes += Buffer.byteLength(name) + lines
    }
    if (reading.metadata) bytes += Buffer.byteLength(csvCell(reading.metadata))
    lines += 1
    return bytes + names.size + 64
  }
}

/** One JSON object a line. */
export const toNdjson = (readings: readonly Reading[]): string =>
  readings.map((reading) => `${JSON.stringify(readingView(reading))}\n`).join('')
