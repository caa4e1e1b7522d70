/** `iotflow device set-status`: makes a device active, inactive, or puts it in maintenance. */
import { Argument, type Command } from 'commander'
import { action, examples } from '../context.ts'

export const addSetStatus = (to: Command) =>
  to
    .command('set-status')
    .description(
      'an inactive device may do nothing; one in maintenance may send, and nothing is alerted for it',
    )
    .argument('<device>', 'its id or its name')
    .addArgument(new Argument('<status>').choices(['active', 'inactive', 'maintenance']))
    .addHelpText('after', examples('iotflow device set-status 7 maintenance'))
    .action(
      action(async ({ api, output }, _options: object, device: string, status: string) => {
        const server = await api()
        const { id, name } = await server.device(device)
        const answer = await server.request('PUT', `/api/v1/admin/devices/${id}/status`, { body: { status } })
        await output.result(
          answer,
          () => `Device ${id}, ${name}, was ${answer.old_status} and is ${answer.new_status}.\n`,
        )
      }),
    )
