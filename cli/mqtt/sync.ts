/** `iotflow mqtt sync`: makes the accounts at a Mosquitto equal to the registry. */
import type { Command } from 'commander'
import { synchronizeAccounts } from '../../local/mqtt/mosquitto/sync.ts'
import { action, examples } from '../context.ts'
import { localSettings } from '../settings.ts'

export const addSyncMqtt = (to: Command) =>
  to
    .command('sync')
    .description('makes the accounts at the broker of MQTT_URL equal to the registry')
    .option('--dry-run', 'only prints what it would do')
    .addHelpText('after', examples('iotflow mqtt sync --dry-run', 'iotflow mqtt sync'))
    .action(
      action(async ({ options, output }, { dryRun = false }: { readonly dryRun?: boolean }) => {
        await output.write(await synchronizeAccounts(localSettings(options, 'The comparison'), dryRun))
      }),
    )
