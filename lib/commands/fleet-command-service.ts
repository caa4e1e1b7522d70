/** The service of fleet commands: the store, and the runner that it wakes. */
import { AppError } from '../errors.ts'
import type { Commands } from './commands.ts'
import type { FleetCommand } from './fleet-command.ts'
import type { FleetCommands } from './fleet-commands.ts'
import type { FleetRunner } from './fleet-runner.ts'
import type { FleetRow, FleetStore } from './fleet-store.ts'

/** How long the caller waits for the first devices, where no process works on afterwards, ms. */
const firstSliceMs = 1000

const shownBy =
  (store: FleetStore) =>
  async (row: FleetRow): Promise<FleetCommand> => {
    const [fleet] = await store.withProgress([row])
    if (fleet === undefined) throw new AppError('INTERNAL', 'The fleet command was not found again.')
    return fleet
  }

/** What only reads: a function with it needs no broker. */
export function readFleetCommands(store: FleetStore): Pick<FleetCommands, 'get' | 'list' | 'commandsOf'> {
  const shown = shownBy(store)
  return {
    get: async (fleetCommandId) => shown(await store.get(fleetCommandId)),
    list: async (query) => store.withProgress(await store.list(query)),
    async commandsOf(fleetCommandId, query) {
      await store.get(fleetCommandId)
      return store.commandsOf(fleetCommandId, query)
    },
  }
}

export function createFleetCommands(options: {
  readonly store: FleetStore
  readonly runner: Pick<FleetRunner, 'wake'>
  readonly commands: Pick<Commands, 'cancelFleet'>
}): FleetCommands {
  const { store, runner, commands } = options
  const shown = shownBy(store)
  return {
    ...readFleetCommands(store),
    async create(command) {
      const row = await store.create(command)
      await runner.wake(firstSliceMs)
      return shown(await store.get(row.fleetCommandId))
    },
    async cancel(fleetCommandId) {
      const { status } = await store.get(fleetCommandId)
      if (!(await store.end(fleetCommandId, 'cancelled'))) {
        const now = await store.get(fleetCommandId)
        if (now.status !== 'cancelled')
          throw new AppError('CONFLICT', `The fleet command has ended already: it is ${status}.`)
      }
      await commands.cancelFleet(fleetCommandId)
      await runner.wake(firstSliceMs)
      return shown(await store.get(fleetCommandId))
    },
  }
}
