/** `iotflow command show`: one command with every state that it was in. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'

export const addShowCommand = (to: Command) =>
  to
    .command('show')
    .description('shows a command with the times of its states')
    .argument('<device>', 'its id or its name')
    .argument('<command-id>', 'as `command send` and `command list` print it')
    .addHelpText('after', examples('iotflow command show 7 4bd8ce1a-5a3c-4d3c-9a8f-0f4f8a9c1d22'))
    .action(
      action(async ({ api, output }, _options: object, name: string, commandId: string) => {
        const server = await api()
        const { id } = await server.device(name)
        const path = `/api/v1/admin/devices/${id}/commands/${encodeURIComponent(commandId)}`
        const { command } = await server.get(path)
        const cells = Object.entries(command).map(([field, value]) =>
          typeof value === 'object' && value !== null
            ? ([field, JSON.stringify(value)] as const)
            : ([field, value as string | number | null] as const),
        )
        await output.fields(command, cells)
      }),
    )
