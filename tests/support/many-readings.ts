/** Gives a device more readings than one request deletes. */
import * as runtime from '../../lib/runtime.ts'
import { mostAtOnce } from '../../lib/telemetry/embedded/deletions.ts'

/** @returns how many there are: one for each millisecond from the beginning of 2026-03-01 UTC on. */
export async function writeManyReadings(deviceId: number, count = mostAtOnce + 1): Promise<number> {
  const from = BigInt(Date.parse('2026-03-01')) * 1_000_000n
  const intake = await runtime.intake()
  for (let at = 0; at < count; at += 5000)
    await intake.deliver({
      deviceId,
      deviceType: 'sensor',
      location: null,
      receivedAt: Date.now(),
      readings: Array.from({ length: Math.min(5000, count - at) }, (_, n) => ({
        time: from + BigInt(at + n) * 1_000_000n,
        fields: { temperature: n % 100 },
        metadata: undefined,
      })),
      rejected: 0,
    })
  return count
}
