/** `iotflow device revoke-key`: ends the keys of a device at once. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'

export const addRevokeKey = (to: Command) =>
  to
    .command('revoke-key')
    .description('ends all keys of a device at once, for HTTP and MQTT, or those with a prefix')
    .argument('<device>', 'its id or its name')
    .option('--prefix <text>', 'the first characters of a key, as `device show` prints them')
    .addHelpText(
      'after',
      examples('iotflow device revoke-key 7', 'iotflow device revoke-key pump-3 --prefix aB3xYz'),
    )
    .action(
      action(async ({ api, output }, { prefix }: { readonly prefix?: string }, device: string) => {
        const server = await api()
        const { id, name } = await server.device(device)
        const answer = await server.request('POST', `/api/v1/admin/devices/${id}/revoke-key`, {
          body: prefix === undefined ? {} : { key_prefix: prefix },
        })
        await output.result(
          answer,
          () => `${answer.revoked_keys} keys of device ${id}, ${name}, are revoked.\n`,
        )
      }),
    )
