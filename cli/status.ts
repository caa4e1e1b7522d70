/** `iotflow status`: whether the server works, and the fleet in numbers. */
import type { Command } from 'commander'
import { CommandError } from '../scripts/command.ts'
import { action, examples } from './context.ts'

interface Check {
  readonly status: string
  readonly message?: string
}

/** Open alerts by severity; undefined where they cannot be counted now. */
const alertsText = (open: Readonly<Record<string, number>> | undefined): string | undefined =>
  open &&
  `${Object.values(open).reduce((sum, count) => sum + count, 0)} open: ${Object.entries(open)
    .map(([severity, count]) => `${count} ${severity}`)
    .join(', ')}`

export const addStatus = (to: Command) =>
  to
    .command('status')
    .description('shows whether the server works, and the fleet in numbers')
    .addHelpText('after', examples('iotflow status', 'iotflow status --json'))
    .action(
      action(async ({ api, output }) => {
        const server = await api()
        const health = await server.get('/health', { detailed: true }).catch((error: unknown) => {
          throw error instanceof CommandError && error.exitCode === 1
            ? new CommandError(`${server.url} cannot take telemetry: ${error.message}`)
            : error
        })
        const fleet = await server.get('/api/v1/admin/dashboard')
        const telemetry = await server.get('/api/v1/telemetry/status')
        const mqtt = await server.get('/api/v1/mqtt/status')
        const { devices, messages } = fleet
        const checks = Object.entries((health.checks ?? {}) as Record<string, Check>)
        await output.fields({ url: server.url, health, fleet, telemetry, mqtt }, [
          ['server', `${server.url}, version ${health.version}`],
          ['health', health.status],
          ...checks.map(
            ([name, { status, message }]) =>
              [`  ${name}`, message ? `${status}: ${message}` : status] as const,
          ),
          ['telemetry', `${telemetry.backend}, ${telemetry.status}`],
          ['mqtt', `${mqtt.broker_info.kind}, ${mqtt.broker_info.connected ? 'connected' : 'not connected'}`],
          ['devices', `${devices.total}: ${devices.online} online, ${devices.offline} offline`],
          [
            'readings',
            messages &&
              `${messages.last_minute} in the last minute, ${messages.last_hour} hour, ${messages.last_day} day`,
          ],
          ['alerts', alertsText(fleet.alerts?.open)],
        ])
      }),
    )
