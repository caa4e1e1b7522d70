/** Services of devices on a registry of their own, by a clock that the test sets. */
import { onTestFinished } from 'vitest'
import { createDevices, type Devices, type DevicesOptions } from '../../lib/devices/devices.ts'
import { createLog } from '../../lib/log.ts'
import { openRegistry, type Registry } from '../../lib/registry/db.ts'
import type { Place } from './registry.ts'

/** The time at which the clock of {@link startDevices} begins, milliseconds since the epoch. */
export const noon = Date.parse('2026-03-01T12:00:00Z')

/** A device to register. */
export const pump = { name: 'pump', deviceType: 'actuator' }

export interface DevicesHarness {
  readonly clock: { now: number }
  /** Opens one more service on the same registry, as another process would. */
  connect(options?: Partial<DevicesOptions>): Promise<{ devices: Devices; registry: Registry }>
}

/** Everything is closed and removed when the test ends. */
export async function startDevices(place: () => Promise<Place>): Promise<DevicesHarness> {
  const { url, remove } = await place()
  const closers: (() => unknown)[] = [remove]
  onTestFinished(async () => {
    for (const close of closers.reverse()) await close()
  })
  const clock = { now: noon }
  return {
    clock,
    async connect(options = {}) {
      const registry = await openRegistry({ url })
      await registry.migrate()
      const devices = createDevices({
        db: registry.db,
        log: createLog('silent'),
        now: () => clock.now,
        keyLength: 32,
        offlineAfterS: 300,
        cacheMs: 0,
        ...options,
      })
      closers.push(async () => {
        await devices.close()
        registry.close()
      })
      return { devices, registry }
    },
  }
}
