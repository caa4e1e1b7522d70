/** Called by a schedule: expires commands, and delivers again what is due. */
import type { Commands } from '../../lib/commands/commands.ts'
import type { Log } from '../../lib/log.ts'
import type { Leases } from '../../lib/registry/leases.ts'
import * as runtime from '../../lib/runtime.ts'
import { serveEvents } from '../../lib/serve.ts'

const lease = 'commands-sweep'
/** A process that has ended keeps others from the work for so long, ms. */
const leaseMs = 60_000

interface Deps {
  log: Log
  leases: Leases
  commands: Pick<Commands, 'sweep'>
}

export const sweepCommands =
  ({ leases, commands }: Deps) =>
  async (_event: unknown): Promise<void> => {
    if (!(await leases.take(lease, leaseMs))) return
    try {
      await commands.sweep()
    } finally {
      await leases.release(lease)
    }
  }

export const handler = serveEvents(sweepCommands, { leases: runtime.leases, commands: runtime.commands })
