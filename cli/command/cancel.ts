/** `iotflow command cancel`: cancels a command that has not ended. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'

export const addCancelCommand = (to: Command) =>
  to
    .command('cancel')
    .description('cancels a command; a device that has it already may still run it')
    .argument('<device>', 'its id or its name')
    .argument('<command-id>', 'as `command send` and `command list` print it')
    .addHelpText('after', examples('iotflow command cancel 7 4bd8ce1a-5a3c-4d3c-9a8f-0f4f8a9c1d22'))
    .action(
      action(async ({ api, output }, _options: object, name: string, commandId: string) => {
        const server = await api()
        const { id } = await server.device(name)
        const path = `/api/v1/admin/devices/${id}/commands/${encodeURIComponent(commandId)}`
        const answer = await server.request('DELETE', path)
        await output.result(answer, () => `Command ${commandId} is cancelled.\n`)
      }),
    )
