/** `iotflow command fleet-show`: a fleet command, and on request the devices in one state. */
import type { Command } from 'commander'
import type { Answer } from '../api.ts'
import { action, examples } from '../context.ts'
import { tableOf } from '../output.ts'
import { progressText } from './fleet-progress.ts'

interface Options {
  readonly status?: string
}

export const addShowFleetCommand = (to: Command) =>
  to
    .command('fleet-show')
    .description('shows a command to many devices, with the devices')
    .argument('<id>', 'as `command fleet-send` and `command fleet-list` print it')
    .option('--status <status>', 'only devices whose command is in this state')
    .addHelpText(
      'after',
      examples('iotflow command fleet-show 4bd8ce1a-5a3c-4d3c-9a8f-0f4f8a9c1d22 --status failed'),
    )
    .action(
      action(async ({ api, output }, { status }: Options, id: string) => {
        const server = await api()
        const path = `/api/v1/admin/fleet/commands/${encodeURIComponent(id)}`
        const { fleet_command: fleet } = await server.get(path, { limit: 1 })
        const commands: Answer[] = []
        for await (const one of server.pages(path, 'commands', { status, limit: 1000 })) commands.push(one)
        await output.result({ ...fleet, commands }, () => {
          const { progress, filter, abort, params, ...others } = fleet
          const fields = [
            ...Object.entries(others as Record<string, string | number | null>),
            ['filter', JSON.stringify(filter)],
            ['params', JSON.stringify(params)],
            ['abort', abort === null ? null : JSON.stringify(abort)],
            ['progress', progressText(progress)],
          ] as const
          return [
            tableOf(['field', 'value'], fields),
            tableOf(
              ['device', 'command id', 'status', 'sent', 'finished', 'result'],
              commands.map((one) => [
                one.device_id,
                one.command_id,
                one.status,
                one.sent_at,
                one.finished_at,
                one.result === null ? null : JSON.stringify(one.result).slice(0, 60),
              ]),
            ),
          ].join('\n')
        })
      }),
    )
