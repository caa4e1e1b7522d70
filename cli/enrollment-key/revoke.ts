/** `iotflow enrollment-key revoke`: ends a key with which devices register themselves. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'

export const addRevokeEnrollmentKey = (to: Command) =>
  to
    .command('revoke')
    .description('ends a key; devices that were registered with it stay')
    .argument('<id>', 'its id, as `enrollment-key list` prints it')
    .addHelpText('after', examples('iotflow enrollment-key revoke 3'))
    .action(
      action(async ({ api, output }, _options: object, id: string) => {
        const server = await api()
        const path = `/api/v1/admin/enrollment-keys/${encodeURIComponent(id)}`
        const { enrollment_key } = await server.request('DELETE', path)
        await output.result(
          enrollment_key,
          () => `Enrolment key ${enrollment_key.id}, ${enrollment_key.name}, is revoked.\n`,
        )
      }),
    )
