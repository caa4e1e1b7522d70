/** `iotflow alert note`: adds a text to the history of an alert. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'
import { alertPath } from './alert-output.ts'

export const addNoteAlert = (to: Command) =>
  to
    .command('note')
    .description('adds a note to the history of an alert, also of one that is cleared')
    .argument('<id>', 'its id, as `alert list` prints it')
    .argument('<text>', 'at most 2,000 characters')
    .addHelpText('after', examples('iotflow alert note 12 "Spare part ordered."'))
    .action(
      action(async ({ api, output }, _options: object, id: string, text: string) => {
        const server = await api()
        const { alert } = await server.request('POST', `${alertPath(id)}/notes`, { body: { text } })
        await output.result(alert, () => `Alert ${alert.id}, ${alert.rule_name}, has the note.\n`)
      }),
    )
