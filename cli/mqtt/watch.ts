/** `iotflow mqtt watch`: shows the messages of devices as they arrive. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { Answer } from '../api.ts'
import { action, examples } from '../context.ts'
import { wholeNumber } from '../numbers.ts'

interface Options {
  readonly count?: string
}

/** Time between two questions, ms: below the limit of requests of one address. */
const askEveryMs = 1000

export const addWatchMqtt = (to: Command) =>
  to
    .command('watch')
    .description('shows messages of devices until Ctrl-C, or until --count of them came')
    .argument('[topic]', 'a topic filter', '#')
    .option('--count <number>', 'ends after so many messages')
    .addHelpText(
      'after',
      examples('iotflow mqtt watch', "iotflow mqtt watch 'iotflow/devices/7/#' --count 10 --json"),
    )
    .action(
      action(async ({ api, output }, { count }: Options, topic: string) => {
        const server = await api()
        const most = count === undefined ? Number.POSITIVE_INFINITY : wholeNumber('--count', count)
        const ask = (after: number): Promise<Answer> =>
          server.get('/api/v1/admin/mqtt/messages', { after, topic })
        let after = (await ask(0)).last
        output.note(`Watching ${topic}; Ctrl-C ends it.`)
        for (let shown = 0; shown < most; ) {
          await sleep(askEveryMs)
          const { messages, last, lost } = await ask(after)
          if (lost > 0) output.note(`${lost} messages came too fast to be shown.`)
          for (const message of messages.slice(0, most - shown)) {
            const { received_at, client_id, payload, encoding } = message
            const line = [received_at, client_id ?? '-', message.topic].join('  ')
            const shownPayload = encoding === 'utf8' ? payload : `base64 ${payload}`
            await output.write(
              output.isJson
                ? `${JSON.stringify(message)}\n`
                : `${`${line}  ${shownPayload}`.replaceAll(/\p{Cc}/gu, ' ')}\n`,
            )
            shown += 1
          }
          after = last
        }
      }),
    )
