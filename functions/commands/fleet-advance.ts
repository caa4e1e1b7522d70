/** Called by a schedule: works off fleet commands where no process runs between requests, and wakes the process that does. */
import type { FleetRunner } from '../../lib/commands/fleet-runner.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import { serveEvents } from '../../lib/serve.ts'

/** Below the time limit of the function, and of the interval of the schedule, ms. */
const workMs = 45_000

interface Deps {
  readonly log: Log
  readonly fleetRunner: Pick<FleetRunner, 'wake'>
}

export const advanceFleetCommands =
  ({ fleetRunner }: Deps) =>
  async (): Promise<void> => {
    await fleetRunner.wake(workMs)
  }

export const handler = serveEvents(advanceFleetCommands, { fleetRunner: runtime.fleetRunner })
