/** `iotflow alert show`: one alert with what happened to it. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'
import { alertPath, printAlert } from './alert-output.ts'

export const addShowAlert = (to: Command) =>
  to
    .command('show')
    .description('shows an alert with its history')
    .argument('<id>', 'its id, as `alert list` prints it')
    .addHelpText('after', examples('iotflow alert show 12', 'iotflow alert show 12 --json'))
    .action(
      action(async ({ api, output }, _options: object, id: string) => {
        const { alert } = await (await api()).get(alertPath(id))
        await printAlert(output, alert)
      }),
    )
