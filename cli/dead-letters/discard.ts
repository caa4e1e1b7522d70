/** `iotflow dead-letters discard`: deletes messages that could not be stored. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'

export const addDiscardDeadLetter = (to: Command) =>
  to
    .command('discard')
    .description('deletes messages that could not be stored')
    .argument('<id...>', 'their ids, as `dead-letters list` prints them')
    .addHelpText('after', examples('iotflow dead-letters discard 12'))
    .action(
      action(async ({ api, output }, _options: object, ids: readonly string[]) => {
        const server = await api()
        for (const id of ids)
          await server.request('DELETE', `/api/v1/admin/dead-letters/${encodeURIComponent(id)}`)
        await output.result({ discarded: ids }, () => `${ids.length} messages are deleted.\n`)
      }),
    )
