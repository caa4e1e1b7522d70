/** Readings of a long time, written into the embedded store before its server starts. */
import { join } from 'node:path'
import { createLog } from '../lib/log.ts'
import { openEmbedded } from '../lib/telemetry/embedded/open.ts'
import type { Reading } from '../lib/telemetry/reading.ts'

const dayS = 86_400
const perWrite = 5000

/** A climate: temperature and humidity with the seasons and the hours, and what goes with them. */
const climateAt = (second: number, part: number): Reading['fields'] => {
  const season = Math.cos(((second / dayS - 20) / 365) * 2 * Math.PI)
  const hour = Math.cos((second / dayS) * 2 * Math.PI)
  return {
    temperature: Math.round((14 - 10 * season - 4 * hour + Math.random()) * 100) / 100,
    humidity: Math.round((55 + 10 * season + 8 * hour + Math.random()) * 10) / 10,
    pressure: Math.round((1013 + 8 * Math.sin(second / dayS / 5) + Math.random()) * 10) / 10,
    battery: Math.round((100 - 40 * part) * 10) / 10,
    co2: Math.round(500 - 150 * hour + Math.random() * 30),
    signal_strength: -60 - Math.round(Math.random() * 20),
  }
}

/**
 * @param everyS seconds between two readings.
 * @returns how many readings were written; the newest is as old as one of these steps.
 */
export async function fillYear(dataDir: string, deviceId: number, everyS: number): Promise<number> {
  const { store, close } = await openEmbedded({
    at: { file: join(dataDir, 'telemetry.db') },
    log: createLog('warn'),
    retentionMs: 0,
  })
  const now = Math.floor(Date.now() / 1000)
  const count = Math.floor((365 * dayS) / everyS)
  for (let first = 0; first < count; first += perWrite) {
    const readings = Array.from({ length: Math.min(perWrite, count - first) }, (_, n): Reading => {
      const second = now - (count - first - n) * everyS
      return {
        time: BigInt(second) * 1_000_000_000n,
        fields: climateAt(second, (first + n) / count),
        metadata: undefined,
      }
    })
    await store.write([
      { deviceId, deviceType: 'climate', location: 'Roof', receivedAt: Date.now(), readings },
    ])
  }
  await close()
  return count
}
