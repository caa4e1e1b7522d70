/** `iotflow enrollment-key create`: makes a key with which devices register themselves. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'
import { expiresHelp, expiryOf } from '../expiry.ts'
import { wholeNumber } from '../numbers.ts'

interface Options {
  readonly type?: string
  readonly max?: string
  readonly expires?: string
}

export const addCreateEnrollmentKey = (to: Command) =>
  to
    .command('create')
    .description('makes a key with which devices register themselves, and prints it: it is shown only now')
    .argument('<name>', 'what it is for')
    .option('--type <type>', 'registers devices of this type only')
    .option('--max <number>', 'registers so many devices at most')
    .option('--expires <end>', expiresHelp)
    .addHelpText(
      'after',
      examples(
        'iotflow enrollment-key create workshop',
        'iotflow enrollment-key create "batch 12" --type climate --max 200 --expires 30d',
      ),
    )
    .action(
      action(async ({ api, output }, { type, max, expires }: Options, name: string) => {
        const server = await api()
        const { key, enrollment_key } = await server.request('POST', '/api/v1/admin/enrollment-keys', {
          body: {
            name,
            device_type: type,
            max_devices: max === undefined ? undefined : wholeNumber('--max', max),
            ...expiryOf(expires),
          },
        })
        await output.fields({ ...enrollment_key, key }, [
          ['id', enrollment_key.id],
          ['name', enrollment_key.name],
          ['enrolment key', key],
          ['device type', enrollment_key.device_type],
          ['devices at most', enrollment_key.max_devices],
          ['expires', enrollment_key.expires_at],
        ])
      }),
    )
