/** `iotflow dead-letters list`: messages that could not be stored. */
import type { Command } from 'commander'
import type { Answer } from '../api.ts'
import { action, examples } from '../context.ts'
import { wholeNumber } from '../numbers.ts'

interface Options {
  readonly device?: string
  readonly limit: string
}

export const addListDeadLetters = (to: Command) =>
  to
    .command('list')
    .description('lists messages that could not be stored, newest first')
    .option('--device <device>', 'only those of this device: its id or its name')
    .option('--limit <number>', 'messages at most', '100')
    .addHelpText(
      'after',
      examples('iotflow dead-letters list', 'iotflow dead-letters list --device pump-3 --json'),
    )
    .action(
      action(async ({ api, output }, { device, limit }: Options) => {
        const most = wholeNumber('--limit', limit)
        const server = await api()
        const id = device === undefined ? undefined : (await server.device(device)).id
        const letters: Answer[] = []
        const query = { device_id: id, limit: Math.min(most, 1000) }
        for await (const letter of server.pages('/api/v1/admin/dead-letters', 'dead_letters', query)) {
          if (letters.length >= most) break
          letters.push(letter)
        }
        await output.table(
          letters,
          ['id', 'device', 'received', 'size', 'reason'],
          letters.map((letter) => [
            letter.id,
            letter.device_id,
            letter.received_at,
            letter.size,
            letter.reason,
          ]),
        )
      }),
    )
