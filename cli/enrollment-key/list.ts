/** `iotflow enrollment-key list`: the keys with which devices register themselves. */
import type { Command } from 'commander'
import type { Answer } from '../api.ts'
import { action, examples } from '../context.ts'

export const addListEnrollmentKeys = (to: Command) =>
  to
    .command('list')
    .description('lists the keys with which devices register themselves, newest first')
    .addHelpText('after', examples('iotflow enrollment-key list', 'iotflow enrollment-key list --json'))
    .action(
      action(async ({ api, output }) => {
        const server = await api()
        const keys: Answer[] = []
        const pages = server.pages('/api/v1/admin/enrollment-keys', 'enrollment_keys', { limit: 1000 })
        for await (const key of pages) keys.push(key)
        await output.table(
          keys,
          ['id', 'name', 'key', 'status', 'type', 'used', 'at most', 'expires', 'last used'],
          keys.map((key) => [
            key.id,
            key.name,
            `${key.key_prefix}…`,
            key.status,
            key.device_type,
            key.used,
            key.max_devices,
            key.expires_at,
            key.last_used_at,
          ]),
        )
      }),
    )
