/** `iotflow restore`: puts a backup in the place of the databases. */
import { basename } from 'node:path'
import type { Command } from 'commander'
import { restoreBackup } from '../local/backup/restore.ts'
import { lockDataDir } from '../local/data-dir.ts'
import { confirm } from './confirm.ts'
import { action, examples } from './context.ts'
import { localSettings } from './settings.ts'

const about = `
The server must not run. The backup is checked as a whole before anything changes. A restore that is interrupted has changed nothing,
or is finished by the next start.`

export const addRestore = (to: Command) =>
  to
    .command('restore')
    .description('puts a backup in the place of the databases of the data directory')
    .argument('<file>', 'that `iotflow backup` has written')
    .option('--yes', 'replaces databases that exist without asking')
    .addHelpText('after', about)
    .addHelpText(
      'after',
      examples(
        'iotflow restore iotflow.backup',
        'iotflow restore iotflow.backup --data-dir /var/lib/iotflow --yes',
      ),
    )
    .action(
      action(async ({ options, output }, { yes }: { readonly yes?: boolean }, file: string) => {
        const config = localSettings(options, 'A restore')
        const unlock = await lockDataDir(config.dataDir)
        try {
          const manifest = await restoreBackup(config, file, {
            confirmReplacing: (paths) =>
              confirm(
                `The backup will replace ${paths.join(' and ')}: what they hold will be lost.`,
                basename(config.dataDir),
                yes,
              ),
          })
          await output.result(
            { data_dir: config.dataDir, ...manifest },
            () => `${config.dataDir} is as it was when ${file} was made, ${manifest.created_at}.\n`,
          )
          if (manifest.influxdb)
            output.note(
              'The readings were in InfluxDB: restore them there with influx restore, from the same time.',
            )
        } finally {
          unlock()
        }
      }),
    )
