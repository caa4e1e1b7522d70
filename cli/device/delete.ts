/** `iotflow device delete`: deletes a device, and with `--telemetry` its readings. */
import type { Command } from 'commander'
import { confirm } from '../confirm.ts'
import { action, examples } from '../context.ts'

interface Options {
  readonly telemetry?: boolean
  readonly yes?: boolean
}

export const addDeleteDevice = (to: Command) =>
  to
    .command('delete')
    .description('deletes a device with its keys, sessions and configuration')
    .argument('<device>', 'its id or its name')
    .option('--telemetry', 'deletes its readings too')
    .option('--yes', 'does not ask')
    .addHelpText(
      'after',
      examples('iotflow device delete pump-3', 'iotflow device delete 7 --telemetry --yes'),
    )
    .action(
      action(async ({ api, output }, { telemetry = false, yes }: Options, device: string) => {
        const server = await api()
        const { id, name } = await server.device(device)
        const what = `Device ${id}, ${name}, will be deleted${telemetry ? ' with all its readings' : ''}.`
        await confirm(what, name, yes)
        const answer = await server.request('DELETE', `/api/v1/admin/devices/${id}`, { query: { telemetry } })
        await output.result(answer, () => `Device ${id}, ${name}, is deleted.\n`)
      }),
    )
