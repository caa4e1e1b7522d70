import { expect, it } from 'vitest'
import type { CountName } from '../../../../lib/counts.ts'
import { AppError } from '../../../../lib/errors.ts'
import type { Delivery } from '../../../../lib/telemetry/delivery.ts'
import { CountedReadings } from '../../../../lib/telemetry/intake/counted-readings.ts'

const reading = { time: 0, fields: {} } as unknown as Delivery['readings'][number]
const arrived = (readings: number, rejected = 0) => ({
  delivery: {
    deviceId: 1,
    deviceType: 'sensor',
    location: null,
    receivedAt: 0,
    readings: Array.from({ length: readings }, () => reading),
    rejected,
  },
  door: 'http' as const,
  since: 0,
})

it('counts each reading of a batch once, by what became of it', () => {
  const counted = new Map<CountName, number>()
  const counts = new CountedReadings((name, by = 1) => counted.set(name, (counted.get(name) ?? 0) + by))
  counts.batchEnded(
    // The store refused one of six, and two were rejected before.
    [arrived(6, 2), arrived(3)],
    [{ stored: 2, queued: 2, duplicates: 1 }, new AppError('UNAVAILABLE', 'The store is away.')],
  )
  counts.messageWarned([
    { index: 0, code: 'CLOCK_WRONG', path: '', message: '' },
    { index: 0, code: 'FIELD_LIMIT', path: '', message: '' },
  ])
  expect(Object.fromEntries(counted)).toEqual({
    MessagesReceived: 2,
    MessagesFailed: 1,
    ReadingsStored: 2,
    ReadingsSpooled: 2,
    ReadingsDuplicate: 1,
    ReadingsRejected: 3,
    ReadingWarnings: 2,
  })
})
