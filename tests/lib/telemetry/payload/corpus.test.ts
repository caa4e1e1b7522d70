import { expect, it } from 'vitest'
import { arrivalTime } from '../../../../lib/telemetry/payload/arrival.ts'
import { decodePayload } from '../../../../lib/telemetry/payload/parse.ts'
import { devicePayloads } from '../../../support/corpus/all.ts'
import { bytesOf } from '../../../support/corpus/payload.ts'
import { arrival, ns, parse, receivedAt } from './parsing.ts'

const now = receivedAt - 60_000

it('the corpus has at least 60 messages, each with a name of its own', () => {
  expect(devicePayloads.length).toBeGreaterThanOrEqual(60)
  expect(new Set(devicePayloads.map(({ name }) => name)).size).toBe(devicePayloads.length)
})

it.each(devicePayloads.map((payload) => [payload.name, payload] as const))('%s', (_name, payload) => {
  const { body, invalidUtf8 } = decodePayload(bytesOf(payload.send(now)))
  const { readings, rejected, warnings } = parse(body, {
    invalidUtf8,
    timezone: payload.timezone,
    senml: payload.contentType === 'application/senml+json',
    retentionMs: 30 * 86_400_000,
  })
  expect(rejected).toEqual([])
  expect(readings.map(({ reading }) => reading)).toEqual(
    payload.stored(now).map(({ time, fields, metadata }, index) => ({
      time: time === undefined ? arrivalTime(receivedAt, arrival.messageId, index) : ns(time),
      fields,
      metadata,
    })),
  )
  expect(warnings.map(({ code, path }) => `${code} ${path}`.trim())).toEqual(payload.warnings ?? [])
})
