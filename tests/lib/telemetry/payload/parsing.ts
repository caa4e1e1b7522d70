/** Parses messages for tests, at a fixed time of arrival. */
import { expect } from 'vitest'
import { AppError } from '../../../../lib/errors.ts'
import type { Arrival } from '../../../../lib/telemetry/payload/arrival.ts'
import { type ParsedReading, parsePayload } from '../../../../lib/telemetry/payload/parse.ts'
import type { Rejection, Warning } from '../../../../lib/telemetry/reading.ts'

export const receivedAt = Date.parse('2026-11-24T08:00:00.000Z')
export const dayMs = 86_400_000
export const arrival: Arrival = {
  receivedAt,
  messageId: '0'.repeat(24),
  retentionMs: 0,
  maxClockAheadMs: 300_000,
}
export const ns = (ms: number): bigint => BigInt(ms) * 1_000_000n

type More = Partial<Arrival>

/** Parses with {@link arrival}. */
export const parse = (body: unknown, more: More = {}) => parsePayload(body, { ...arrival, ...more })

/** The reading of a message that has one, and no rejected one. */
export const one = (body: unknown, more: More = {}): ParsedReading => {
  const { readings, rejected } = parse(body, more)
  expect(rejected).toEqual([])
  expect(readings).toHaveLength(1)
  return readings[0] as ParsedReading
}
export const fieldsOf = (body: unknown, more: More = {}) => one(body, more).reading.fields
export const metadataOf = (body: unknown, more: More = {}) => one(body, more).reading.metadata

/** The warnings of a message of which nothing is rejected, as `CODE path`. */
export const warningsOf = (body: unknown, more: More = {}): string[] => {
  const { warnings, rejected } = parse(body, more)
  expect(rejected).toEqual([])
  return warnings.map(({ code, path }: Warning) => `${code} ${path}`.trim())
}

/** The rejection of a message with one reading. */
export const rejection = (body: unknown, more: More = {}): Rejection => {
  const { readings, rejected, warnings } = parse(body, more)
  expect(readings).toEqual([])
  expect(warnings).toEqual([])
  expect(rejected).toHaveLength(1)
  return rejected[0] as Rejection
}

/** The error of a message that is refused as a whole. */
export const refusal = (body: unknown, more: More = {}): AppError => {
  try {
    parse(body, more)
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
  throw new Error('not refused as a whole')
}
