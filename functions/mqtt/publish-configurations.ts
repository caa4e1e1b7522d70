/** Called by a schedule: goes on with changes of many configurations, and publishes what the broker has not got yet. */
import type { FleetConfigurations } from '../../lib/configuration/fleet-configurations.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import { serveEvents } from '../../lib/serve.ts'

interface Deps {
  log: Log
  fleetConfigurations: Pick<FleetConfigurations, 'run'>
}

/** A run ends before the function has to, ms. */
const longestRunMs = 40_000

export const publishConfigurations =
  ({ fleetConfigurations }: Deps) =>
  async (): Promise<void> => {
    await fleetConfigurations.run(Date.now() + longestRunMs)
  }

export const handler = serveEvents(publishConfigurations, {
  fleetConfigurations: runtime.fleetConfigurations,
})
