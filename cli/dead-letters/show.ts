/** `iotflow dead-letters show`: one message that could not be stored, with its payload. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'
import type { Cell } from '../output.ts'

export const addShowDeadLetter = (to: Command) =>
  to
    .command('show')
    .description('shows a message that could not be stored, with its payload')
    .argument('<id>', 'its id, as `dead-letters list` prints it')
    .addHelpText('after', examples('iotflow dead-letters show 12'))
    .action(
      action(async ({ api, output }, _options: object, id: string) => {
        const answer = await (await api()).get(`/api/v1/admin/dead-letters/${encodeURIComponent(id)}`)
        await output.fields(answer.dead_letter, Object.entries(answer.dead_letter as Record<string, Cell>))
      }),
    )
