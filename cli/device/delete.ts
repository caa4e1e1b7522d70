/** `iotflow device delete`: deletes a device, and with `--telemetry` its readings. */
import type { Command } from 'commander'
import { confirm } from '../confirm.ts'
import { action, examples } from '../context.ts'
import { deletionFinished } from '../deletion.ts'

interface Options {
  readonly telemetry?: boolean
  readonly yes?: boolean
  readonly wait: boolean
}

export const addDeleteDevice = (to: Command) =>
  to
    .command('delete')
    .description('deletes a device with its keys, sessions and configuration')
    .argument('<device>', 'its id or its name')
    .option('--telemetry', 'deletes its readings too')
    .option('--yes', 'does not ask')
    .option('--no-wait', 'does not wait until a lot of readings are deleted, which the server goes on with')
    .addHelpText(
      'after',
      examples('iotflow device delete pump-3', 'iotflow device delete 7 --telemetry --yes'),
    )
    .action(
      action(async ({ api, output }, { telemetry = false, yes, wait }: Options, device: string) => {
        const server = await api()
        const { id, name } = await server.device(device)
        const what = `Device ${id}, ${name}, will be deleted${telemetry ? ' with all its readings' : ''}.`
        await confirm(what, name, yes)
        const answer = await server.request('DELETE', `/api/v1/admin/devices/${id}`, { query: { telemetry } })
        const deletion = wait ? await deletionFinished(server, answer) : undefined
        const done = { ...answer, ...(deletion === undefined ? {} : { telemetry_deleted: true, deletion }) }
        const goesOn = !wait && answer.deletion_id !== undefined
        await output.result(done, () =>
          goesOn
            ? `Device ${id}, ${name}, is deleted; its readings are being deleted.\n`
            : `Device ${id}, ${name}, is deleted.\n`,
        )
      }),
    )
