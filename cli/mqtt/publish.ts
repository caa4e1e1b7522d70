/** `iotflow mqtt publish`: publishes a message through the server. */
import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { UsageError } from '../../scripts/command.ts'
import { action, examples } from '../context.ts'

interface Options {
  readonly retain?: boolean
  readonly file?: string
}

export const addPublishMqtt = (to: Command) =>
  to
    .command('publish')
    .description('publishes a message with QoS 1')
    .argument('<topic>', 'below iotflow/')
    .argument('[payload]', 'the text of the message; without it, that of --file')
    .option('--file <file>', 'holds the payload')
    .option('--retain', 'the broker keeps it for later subscribers; an empty payload deletes it')
    .addHelpText(
      'after',
      examples(`iotflow mqtt publish iotflow/fleet/notices/maintenance '{"from":"22:00"}'`),
    )
    .action(
      action<Options, [string, string | undefined]>(
        async ({ api, output }, { retain = false, file }, topic, given) => {
          if ((given === undefined) === (file === undefined))
            throw new UsageError('Name a payload, or --file.')
          const payload =
            given ??
            (await readFile(file ?? '', 'utf8').catch((error: NodeJS.ErrnoException) => {
              throw new UsageError(`${file} cannot be read (${error.code}).`)
            }))
          const server = await api()
          const answer = await server.request('POST', '/api/v1/admin/mqtt/publish', {
            body: { topic, payload, retain },
          })
          await output.result(answer, () => `Published to ${topic}.\n`)
        },
      ),
    )
