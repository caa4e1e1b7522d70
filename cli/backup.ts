/** `iotflow backup`: one file with the databases, while the server runs. */
import { stat } from 'node:fs/promises'
import type { Command } from 'commander'
import type { Config } from '../lib/config.ts'
import { makeBackup } from '../local/backup/backup.ts'
import { action, examples } from './context.ts'
import { Progress } from './progress.ts'
import { localSettings } from './settings.ts'

/** How to back up what is not in the databases; undefined when everything is. */
export const influxNote = ({ influx }: Pick<Config, 'influx'>): string | undefined =>
  influx &&
  `The readings are in InfluxDB, and not in this file: back them up with influx backup FOLDER --host ${influx.url} --bucket ${influx.bucket}.`

const about = `
The backup holds the devices with the digests of their keys, the configurations, the dead letters, the readings of the embedded
store, and the readings that wait in the spool. It holds no key in clear and no admin token. Every reading that was acknowledged
before the backup began is in it. The server may run.`

export const addBackup = (to: Command) =>
  to
    .command('backup')
    .description('writes the databases of the data directory into one file')
    .argument('<file>', 'appears when it is complete')
    .option('--force', 'replaces a file of this name')
    .addHelpText('after', about)
    .addHelpText(
      'after',
      examples('iotflow backup iotflow.backup', 'iotflow backup "backups/$(date +%F).backup"'),
    )
    .action(
      action(async ({ options, output }, { force = false }: { readonly force?: boolean }, file: string) => {
        const config = localSettings(options, 'A backup')
        const progress = new Progress('MB')
        let bytes = 0
        const manifest = await makeBackup(config, file, {
          replace: force,
          onBytes: (more) => {
            bytes += more
            progress.show(Math.round(bytes / 1e6), 0)
          },
        }).finally(() => progress.clear())
        const { size } = await stat(file)
        await output.result(
          { file, bytes: size, ...manifest },
          () => `The backup of ${config.dataDir} is in ${file}, ${(size / 1e6).toFixed(1)} MB.\n`,
        )
        const note = influxNote(config)
        if (note !== undefined) output.note(note)
      }),
    )
