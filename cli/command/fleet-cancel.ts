/** `iotflow command fleet-cancel`: ends a fleet command. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'
import { progressText } from './fleet-progress.ts'

export const addCancelFleetCommand = (to: Command) =>
  to
    .command('fleet-cancel')
    .description(
      'ends a command to many devices: no further one gets it, and what is not finished is cancelled',
    )
    .argument('<id>', 'as `command fleet-send` and `command fleet-list` print it')
    .addHelpText('after', examples('iotflow command fleet-cancel 4bd8ce1a-5a3c-4d3c-9a8f-0f4f8a9c1d22'))
    .action(
      action(async ({ api, output }, _options: object, id: string) => {
        const path = `/api/v1/admin/fleet/commands/${encodeURIComponent(id)}`
        const answer = await (await api()).request('DELETE', path)
        const { progress } = answer.fleet_command
        await output.result(answer, () => `Fleet command ${id} is cancelled: ${progressText(progress)}.\n`)
      }),
    )
