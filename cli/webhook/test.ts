/** `iotflow webhook test`: sends a message now, and shows what the receiver answers. */
import type { Command } from 'commander'
import { CommandError } from '../../scripts/command.ts'
import { action, examples } from '../context.ts'
import { webhookPath } from './webhook-output.ts'

/** What a receiver answers is a text of strangers, which must not move the cursor of the terminal. */
const quoted = (answer: string | null): string =>
  answer === null || answer === '' ? '' : ` It says: ${answer.slice(0, 200).replaceAll(/\p{Cc}/gu, ' ')}`

export const addTestWebhook = (to: Command) =>
  to
    .command('test')
    .description('sends the event webhook.test now, and shows what the receiver answers')
    .argument('<id>', 'its id, as `webhook list` prints it')
    .addHelpText('after', examples('iotflow webhook test 2', 'iotflow webhook test 2 --json'))
    .action(
      action(async ({ api, output }, _options: object, id: string) => {
        const answer = await (await api()).request('POST', `${webhookPath(id)}/test`)
        const { delivered, delivery_id, attempt } = answer
        await output.result({ delivered, delivery_id, attempt }, () =>
          delivered
            ? `The message was taken: HTTP ${attempt.status_code} in ${attempt.duration_ms} ms.\n`
            : '',
        )
        if (!delivered)
          throw new CommandError(`The message was not taken. ${attempt.error}${quoted(attempt.answer)}`)
      }),
    )
