/** `iotflow telemetry latest`: the newest value of every field. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'
import type { Cell } from '../output.ts'

export const addLatestTelemetry = (to: Command) =>
  to
    .command('latest')
    .description('shows the newest value of every field of a device')
    .argument('<device>', 'its id or its name')
    .addHelpText(
      'after',
      examples('iotflow telemetry latest greenhouse-1', 'iotflow telemetry latest 7 --json'),
    )
    .action(
      action(async ({ api, output }, _options: object, device: string) => {
        const server = await api()
        const { id } = await server.device(device)
        const answer = await server.get(`/api/v1/telemetry/${id}/latest`)
        const { metadata: _metadata, ...fields } = answer.latest_data as Record<string, Cell>
        await output.fields(answer, Object.entries(fields))
      }),
    )
