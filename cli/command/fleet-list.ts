/** `iotflow command fleet-list`: fleet commands with their progress, newest first. */
import type { Command } from 'commander'
import type { Answer } from '../api.ts'
import { action, examples } from '../context.ts'
import { wholeNumber } from '../numbers.ts'
import { progressText } from './fleet-progress.ts'

interface Options {
  readonly limit?: string
}

export const addListFleetCommands = (to: Command) =>
  to
    .command('fleet-list')
    .description('lists commands to many devices with their progress, newest first')
    .option('--limit <number>', 'fleet commands at most (20)')
    .addHelpText(
      'after',
      examples('iotflow command fleet-list', 'iotflow command fleet-list --limit 5 --json'),
    )
    .action(
      action(async ({ api, output }, { limit = '20' }: Options) => {
        const query = { limit: wholeNumber('--limit', limit) }
        const { fleet_commands: found } = await (await api()).get('/api/v1/admin/fleet/commands', query)
        await output.table(
          found,
          ['fleet command id', 'command', 'status', 'targets', 'progress', 'issued', 'finished'],
          found.map((fleet: Answer) => [
            fleet.fleet_command_id,
            fleet.command,
            fleet.status,
            fleet.targets,
            progressText(fleet.progress),
            fleet.issued_at,
            fleet.finished_at,
          ]),
        )
      }),
    )
