/** Readings of a range as CSV: page after page, because one answer ends at 4 MB. */
import { csvLine, withoutFormula } from '../../../lib/csv.ts'
import type { Reading } from '../../answers.ts'
import { type ApiError, get } from '../../api.ts'
import type { Span } from '../../charts/range.ts'

interface Page {
  readonly data: readonly Reading[]
  readonly next_cursor?: string
}

export interface Export {
  /** Lines of the file, a part for each page. */
  readonly parts: readonly Blob[]
  readonly readings: number
  readonly error: ApiError | undefined
}

const pageSize = 10_000
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/**
 * @param fields of the columns; every field of the device, in their order.
 * @param onPage told how many readings have been read.
 */
export async function exportReadings(
  deviceId: number,
  fields: readonly string[],
  { from, to }: Span,
  signal: AbortSignal,
  onPage: (readings: number) => void,
): Promise<Export> {
  const parts = [new Blob([csvLine(['timestamp', ...fields.map(withoutFormula), 'metadata'])])]
  let readings = 0
  for (let cursor: string | undefined; ; ) {
    const answer = await get<Page>(
      `telemetry/${deviceId}`,
      {
        start_time: new Date(from).toISOString(),
        end_time: new Date(to).toISOString(),
        order: 'asc',
        limit: pageSize,
        cursor,
      },
      { signal },
    )
    if (!answer.ok && answer.error.status === 429 && !signal.aborted) {
      await pause((answer.error.retryAfterS ?? 5) * 1000)
      continue
    }
    if (!answer.ok) return { parts, readings, error: answer.error }
    const { data, next_cursor: next } = answer.value
    const lines = data.map((reading) =>
      csvLine([
        reading.timestamp,
        ...fields.map((field) => withoutFormula(reading[field])),
        reading.metadata,
      ]),
    )
    // The browser may keep a blob on the disk.
    parts.push(new Blob(lines))
    readings += data.length
    onPage(readings)
    if (next === undefined) return { parts, readings, error: undefined }
    cursor = next
  }
}
