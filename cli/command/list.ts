/** `iotflow command list`: the commands of a device, newest first. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'
import { wholeNumber } from '../numbers.ts'

interface Options {
  readonly status?: string
  readonly limit?: string
}

export const addListCommands = (to: Command) =>
  to
    .command('list')
    .description('lists the commands of a device, newest first')
    .argument('<device>', 'its id or its name')
    .option('--status <status>', 'queued, sent, acknowledged, succeeded, failed, expired or cancelled')
    .option('--limit <number>', 'commands at most (20)')
    .addHelpText(
      'after',
      examples('iotflow command list greenhouse-1', 'iotflow command list 7 --status queued --json'),
    )
    .action(
      action(async ({ api, output }, { status, limit = '20' }: Options, name: string) => {
        const server = await api()
        const { id } = await server.device(name)
        const query = { status, limit: wholeNumber('--limit', limit) }
        const { commands } = await server.get(`/api/v1/admin/devices/${id}/commands`, query)
        await output.table(
          commands,
          ['command id', 'command', 'status', 'issued', 'sent', 'finished', 'result'],
          commands.map((one: Record<string, string | null>) => [
            one.command_id,
            one.command,
            one.status,
            one.issued_at,
            one.sent_at,
            one.finished_at,
            one.result === null ? null : JSON.stringify(one.result).slice(0, 60),
          ]),
        )
      }),
    )
