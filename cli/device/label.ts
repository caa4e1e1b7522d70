/** `iotflow device label`: sets and removes labels of a device. */
import type { Command } from 'commander'
import { UsageError } from '../../scripts/command.ts'
import { action, examples } from '../context.ts'
import { labelText } from './label-text.ts'

/** `site=north` sets a label, `site-` removes one. */
const changeOf = (text: string): [key: string, value: string | null] => {
  const [, key, value] = /^([^=]+)=(.*)$/.exec(text) ?? []
  if (key !== undefined && value !== undefined) return [key, value]
  const [, removed] = /^([^=]+)-$/.exec(text) ?? []
  if (removed !== undefined) return [removed, null]
  throw new UsageError(`A label is set by key=value and removed by key-, not by "${text}".`)
}

export const addLabelDevice = (to: Command) =>
  to
    .command('label')
    .description('sets and removes labels of a device, by which others select it')
    .argument('<device>', 'its id or its name')
    .argument('<labels...>', 'key=value sets one, key- removes one; the others stay')
    .addHelpText(
      'after',
      examples(
        'iotflow device label greenhouse-1 site=north floor=2',
        'iotflow device label 7 floor-',
        'iotflow device list --selector site=north,floor!=2',
      ),
    )
    .action(
      action<object, [string, readonly string[]]>(async ({ api, output }, _options, device, texts) => {
        const labels = Object.fromEntries(texts.map(changeOf))
        const server = await api()
        const { id } = await server.device(device)
        const answer = await server.request('PUT', `/api/v1/admin/devices/${id}`, { body: { labels } })
        const { name, labels: now } = answer.device
        await output.result(
          answer.device,
          () => `Device ${id}, ${name}, has ${labelText(now) || 'no label'}.\n`,
        )
      }),
    )
