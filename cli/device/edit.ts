/** `iotflow device edit`: changes the registered fields of a device. */
import type { Command } from 'commander'
import { UsageError } from '../../scripts/command.ts'
import { action, examples } from '../context.ts'
import { addDeviceOptions, type DeviceOptions, fieldsOf } from './fields.ts'

interface Options extends DeviceOptions {
  readonly name?: string
}

export const addEditDevice = (to: Command) =>
  addDeviceOptions(
    to
      .command('edit')
      .description('changes what is registered of a device; an empty text clears a field')
      .argument('<device>', 'its id or its name')
      .option('--name <name>', 'its new name')
      .option('--type <type>', 'its new type'),
  )
    .addHelpText(
      'after',
      examples(
        'iotflow device edit 7 --location "Greenhouse, north"',
        'iotflow device edit pump-3 --description ""',
      ),
    )
    .action(
      action(async ({ api, output }, options: Options, device: string) => {
        const body = { name: options.name, ...fieldsOf(options) }
        if (Object.values(body).every((value) => value === undefined))
          throw new UsageError('There is nothing to change: name a field, such as --location.')
        const server = await api()
        const { id } = await server.device(device)
        const answer = await server.request('PUT', `/api/v1/admin/devices/${id}`, { body })
        await output.result(answer.device, () => `Device ${id}, ${answer.device.name}, is changed.\n`)
      }),
    )
