/** Parameters and answers that the endpoints of telemetry share. */
import * as z from 'zod'
import { csvCell } from '../csv.ts'
import { AppError } from '../errors.ts'
import { optionalParameter, pageCursor, pageLimit, timeZoneName } from '../parameters.ts'
import { selectorText } from '../registry/selector.ts'
import { parseInstant, parseWindow } from './duration.ts'
import { fills } from './fill.ts'
import { cursorPattern } from './pages.ts'
import { isFieldName, maxNameLength } from './payload/names.ts'
import { instantPattern, windowPattern } from './payload/patterns.ts'
import type { Reading } from './reading.ts'
import { aggregations } from './store.ts'
import { formatTime } from './time.ts'

/** Readings of one answer; a larger `limit` is lowered to it. */
export const maxLimit = 10_000
/** JSON of one answer, bytes: a Lambda's answer ends at 6 MB. */
export const maxAnswerBytes = 4 * 1024 * 1024

const maxFieldsOfQuery = 64

/** Now, in nanoseconds since the epoch. */
export const nowNs = (): bigint => BigInt(Date.now()) * 1_000_000n

/** The instant that a parameter names, ns since the epoch. @param zone IANA name, of local times and of the calendar. */
export type InstantIn = (zone: string) => bigint

const writtenInstant = z.string().meta({
  id: 'Instant',
  description:
    'ISO 8601 (in `timezone` where it names no offset), an epoch in s, ms, µs or ns by its magnitude, or a time back from now such as `-1h30m` or `-1mo`.',
  pattern: `^(?:${instantPattern})$`,
  examples: ['-1h', '2026-01-31T12:00:00Z', '1769860800'],
})

const instant = writtenInstant.transform((text, issue): InstantIn => {
  const now = nowNs()
  const inUtc = parseInstant(text, now)
  if (inUtc !== undefined) return (zone) => parseInstant(text, now, zone) ?? inUtc
  issue.addIssue('must be ISO 8601, an epoch, or a time back from now such as -1h')
  return z.NEVER
})

const timezone = optionalParameter(
  timeZoneName.meta({
    description:
      'IANA name of the zone of local times, and of windows with a unit of the calendar. Left out: the zone of the device, else UTC.',
    examples: ['Europe/Berlin'],
  }),
)

/** The zone of a query. @param device with the zone that counts where the query names none. */
export const zoneOf = (
  asked: { timezone?: string | undefined },
  device: { timezone: string | null },
): string => asked.timezone ?? device.timezone ?? 'UTC'

/** Names in the form in which they are stored. */
const composed = (text: string) => text.normalize('NFC')

const field = z
  .string()
  .transform(composed)
  .refine(isFieldName, 'must be the name of a field')
  .meta({ examples: ['temperature'] })

export const HistoryParameters = z.object({
  start_time: optionalParameter(instant),
  end_time: optionalParameter(instant),
  timezone,
  fields: optionalParameter(
    z
      .string()
      .meta({
        description: `Only these fields, at most ${maxFieldsOfQuery} names of up to ${maxNameLength} characters, with commas between them.`,
        examples: ['temperature,humidity'],
      })
      .transform((text) => text.split(','))
      .pipe(z.array(field).max(maxFieldsOfQuery, `must name at most ${maxFieldsOfQuery} fields`)),
  ),
  limit: optionalParameter(pageLimit(maxLimit)),
  order: optionalParameter(z.enum(['asc', 'desc'], 'must be asc or desc')),
  cursor: optionalParameter(
    z.string().max(64).meta({
      description: 'Continues after the previous page: its `next_cursor`, or the `X-Next-Cursor` header.',
      pattern: cursorPattern.source,
      maxLength: undefined,
    }),
  ),
  format: optionalParameter(z.enum(['json', 'csv', 'ndjson'], 'must be json, csv or ndjson')),
})

const writtenWindow = z.string().meta({
  id: 'Window',
  description:
    'How long a window is: numbers with `s`, `m` or `h` (`90m`, `1h30m`), aligned to 1970-01-01 UTC, or one number with `d`, `w`, `mo` or `y`, counted from 1970-01-01 in `timezone`, weeks from Monday.',
  pattern: `^(?:${windowPattern})$`,
  examples: ['1h', '5m', '1d', '1mo'],
})

export const AggregateParameters = z.object({
  start_time: optionalParameter(instant),
  end_time: optionalParameter(instant),
  timezone,
  field: optionalParameter(z.union([z.literal('*'), field], 'must be the name of a field, or *')),
  aggregation: optionalParameter(z.enum(aggregations, `must be one of ${aggregations.join(', ')}`)),
  window: optionalParameter(
    writtenWindow.transform((text, issue) => {
      const window = parseWindow(text)
      if (window !== undefined) return window
      issue.addIssue(
        'must be a duration such as 30s, 1h30m, 1d, 1w or 1mo, with at most one of d, w, mo and y',
      )
      return z.NEVER
    }),
  ),
  fill: optionalParameter(z.enum(fills, `must be one of ${fills.join(', ')}`)),
})

const onlyWithAggregation = ['window', 'fill', 'start_time', 'end_time', 'timezone'] as const

const { start_time, end_time, aggregation, window, fill } = AggregateParameters.shape

export const FleetParameters = z.object({
  selector: optionalParameter(selectorText),
  device_type: optionalParameter(z.string().max(64)),
  field,
  aggregation,
  window,
  start_time,
  end_time,
  timezone: optionalParameter(timeZoneName),
  fill,
  limit: optionalParameter(pageLimit(1000)),
  cursor: optionalParameter(pageCursor),
})

/**
 * Refuses parameters that would count for nothing: those of windows without an aggregation.
 * @throws {AppError} VALIDATION_FAILED
 */
export function refuseWindowsWithoutAggregation(asked: z.output<typeof FleetParameters>): void {
  if (asked.aggregation !== undefined) return
  const details = onlyWithAggregation
    .filter((name) => asked[name] !== undefined)
    .map((path) => ({ path, message: 'counts with aggregation only' }))
  const [first] = details
  if (first === undefined) return
  throw new AppError('VALIDATION_FAILED', `The query is not valid: ${first.path}: ${first.message}.`, {
    details,
  })
}

export const RemovalRange = z.object(
  { start_time: instant, stop_time: instant, timezone },
  'must be a JSON object',
)

/** A reading as answers show it. */
export const readingView = ({ time, fields, metadata }: Reading) => ({
  timestamp: formatTime(time),
  ...fields,
  ...(metadata === undefined ? {} : { metadata }),
})

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

/** Bytes that each reading adds to {@link toCsv}: a new name widens every line before it. */
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
