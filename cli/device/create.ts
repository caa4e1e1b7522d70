/** `iotflow device create`: registers one device and prints its key. */
import type { Command } from 'commander'
import { CommandError } from '../../scripts/command.ts'
import { action, examples } from '../context.ts'
import { addDeviceOptions, type DeviceOptions, fieldsOf } from './fields.ts'

interface Options extends DeviceOptions {
  readonly labels?: string
}

export const addCreateDevice = (to: Command) =>
  addDeviceOptions(
    to
      .command('create')
      .description('registers a device and prints its key, which is shown only once')
      .argument('<name>', 'no other device may have it')
      .requiredOption('--type <type>', 'the kind of the device, such as temperature')
      .option('--labels <labels>', 'such as site=north,floor=2'),
  )
    .addHelpText(
      'after',
      examples(
        'iotflow device create greenhouse-1 --type temperature',
        'iotflow device create "Pump 3" --type pump --location Cellar --timezone Europe/Berlin',
      ),
    )
    .action(
      action(async ({ api, output }, options: Options, name: string) => {
        const content = JSON.stringify({ name, ...fieldsOf(options), labels: options.labels })
        const file = { type: 'application/x-ndjson', content }
        const { keys, errors } = await (await api()).request('POST', '/api/v1/admin/devices/import', { file })
        const [made] = keys
        if (made === undefined) throw new CommandError(`The device was not registered: ${errors[0]?.reason}.`)
        const { id, api_key } = made
        await output.fields({ id, name: made.name, api_key }, [
          ['id', id],
          ['name', made.name],
          ['API key', api_key],
        ])
      }),
    )
