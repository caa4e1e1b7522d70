/** `iotflow dead-letters replay`: tries again to store messages. */
import type { Command } from 'commander'
import { CommandError } from '../../scripts/command.ts'
import { action, examples } from '../context.ts'

export const addReplayDeadLetter = (to: Command) =>
  to
    .command('replay')
    .description('tries again to store messages; the others stay')
    .argument('<id...>', 'their ids, as `dead-letters list` prints them')
    .addHelpText('after', examples('iotflow dead-letters replay 12', 'iotflow dead-letters replay 12 13 14'))
    .action(
      action(async ({ api, output }, _options: object, ids: readonly string[]) => {
        const server = await api()
        const results: { id: string; error?: string }[] = []
        for (const id of ids) {
          const path = `/api/v1/admin/dead-letters/${encodeURIComponent(id)}/replay`
          const error = await server.request('POST', path).then(
            () => undefined,
            (failed: Error) => failed,
          )
          if (ids.length === 1 && error !== undefined) throw error
          results.push({ id, ...(error && { error: error.message }) })
        }
        await output.table(
          results,
          ['id', 'result'],
          results.map(({ id, error }) => [id, error ?? 'stored']),
        )
        if (results.some(({ error }) => error)) throw new CommandError('Not every message could be stored.')
      }),
    )
