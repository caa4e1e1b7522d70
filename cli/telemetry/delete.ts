/** `iotflow telemetry delete`: deletes the readings of a range. */
import type { Command } from 'commander'
import { confirm } from '../confirm.ts'
import { action, examples } from '../context.ts'
import { deletionFinished } from '../deletion.ts'

interface Options {
  readonly since: string
  readonly until: string
  readonly yes?: boolean
  readonly wait: boolean
}

export const addDeleteTelemetry = (to: Command) =>
  to
    .command('delete')
    .description('deletes the readings of a device in a range of time')
    .argument('<device>', 'its id or its name')
    .requiredOption(
      '--since <time>',
      'from this time on: ISO 8601, an epoch, or a time back from now such as -24h',
    )
    .requiredOption('--until <time>', 'before this time')
    .option('--yes', 'does not ask')
    .option('--no-wait', 'does not wait for a large deletion, which the server goes on with')
    .addHelpText(
      'after',
      examples('iotflow telemetry delete 7 --since 2026-01-30T00:00:00Z --until 2026-01-31T00:00:00Z'),
    )
    .action(
      action(async ({ api, output }, { since, until, yes, wait }: Options, device: string) => {
        const server = await api()
        const { id, name } = await server.device(device)
        await confirm(
          `Readings of device ${id}, ${name}, from ${since} to ${until} will be deleted.`,
          name,
          yes,
        )
        const body = { start_time: since, stop_time: until }
        const answer = await server.request('DELETE', `/api/v1/telemetry/${id}`, { body })
        const range = `Readings of device ${id}, ${name}, from ${answer.start_time} to ${answer.stop_time}`
        const goesOn = !wait && answer.deletion_id !== undefined
        const deletion = wait ? await deletionFinished(server, answer) : undefined
        await output.result(deletion ?? answer, () =>
          goesOn ? `${range} are being deleted.\n` : `${range} are deleted.\n`,
        )
      }),
    )
