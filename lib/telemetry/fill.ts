/** Adds the windows without a value to the answer of an aggregation. */
import { AppError } from '../errors.ts'
import { maxAggregates } from './aggregation.ts'
import type { FieldValue } from './reading.ts'
import type { Aggregate, AggregateQuery } from './store.ts'
import { windowStarts } from './windows.ts'

/** What a window without a value gets: no value, that of the window before, or 0. */
export const fills = ['null', 'previous', '0'] as const
export type Fill = (typeof fills)[number]

export interface FilledAggregate {
  /** Start of the window. */
  readonly time: bigint
  /** Null where there is nothing to fill with. */
  readonly values: Readonly<Record<string, FieldValue | null>>
}

/**
 * All windows that begin before `until`, and later ones that have values; each with every field of the answer.
 * @param found newest first, as the result. @param until ns since the epoch.
 * @throws {AppError} VALIDATION_FAILED for more than 200,000 values.
 */
export function fillWindows(
  found: readonly Aggregate[],
  { field, bounds, from, to }: AggregateQuery,
  fill: Fill,
  until: bigint,
): FilledAggregate[] {
  const names =
    field === undefined ? [...new Set(found.flatMap(({ values }) => Object.keys(values)))].sort() : [field]
  const starts = windowStarts(bounds, { from, to: until < to ? until : to })
  const times = new Set(starts.map((start) => BigInt(start) * 1_000_000_000n))
  for (const { time } of found) times.add(time)
  if (times.size * names.length > maxAggregates)
    throw new AppError('VALIDATION_FAILED', 'That is too many values for one answer: ask for less.', {
      details: [{ path: 'fill', message: 'adds too many values' }],
    })
  // A field may be called `constructor`, which every object inherits.
  const byTime = new Map(found.map(({ time, values }) => [time, new Map(Object.entries(values))]))
  const last = new Map<string, FieldValue>()
  const filled = [...times]
    .sort((one, other) => (one < other ? -1 : 1))
    .map((time): FilledAggregate => {
      const values: Record<string, FieldValue | null> = {}
      for (const name of names) {
        const value = byTime.get(time)?.get(name)
        if (value !== undefined) last.set(name, value)
        values[name] = value ?? (fill === '0' ? 0 : fill === 'previous' ? (last.get(name) ?? null) : null)
      }
      return { time, values }
    })
  return filled.reverse()
}
