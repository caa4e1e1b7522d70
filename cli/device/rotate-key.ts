/** `iotflow device rotate-key`: makes a new key for a device. */
import type { Command } from 'commander'
import { UsageError } from '../../scripts/command.ts'
import { action, examples } from '../context.ts'
import { expiresHelp, expiryOf } from '../expiry.ts'

interface Options {
  readonly grace: string
  readonly expires?: string
}

export const addRotateKey = (to: Command) =>
  to
    .command('rotate-key')
    .description('makes a new key and prints it; the newest old key stays valid for a while')
    .argument('<device>', 'its id or its name')
    .option('--grace <seconds>', 'how long the old key stays valid, 0 to 604800', '86400')
    .option('--expires <end>', `when the new key ends: ${expiresHelp}; never without`)
    .addHelpText(
      'after',
      examples(
        'iotflow device rotate-key 7',
        'iotflow device rotate-key pump-3 --grace 0',
        'iotflow device rotate-key pump-3 --expires 90d',
      ),
    )
    .action(
      action(async ({ api, output }, { grace, expires }: Options, device: string) => {
        if (!/^\d+$/.test(grace)) throw new UsageError('--grace must be a whole number of seconds.')
        const server = await api()
        const { id, name } = await server.device(device)
        const answer = await server.request('POST', `/api/v1/admin/devices/${id}/rotate-key`, {
          body: { grace_s: Number(grace), ...expiryOf(expires) },
        })
        const { api_key, previous_key_expires_at, expires_at } = answer
        await output.fields({ id, name, api_key, previous_key_expires_at, expires_at }, [
          ['id', id],
          ['name', name],
          ['API key', api_key],
          ['the old one ends', previous_key_expires_at],
          ['the new one ends', expires_at],
        ])
      }),
    )
