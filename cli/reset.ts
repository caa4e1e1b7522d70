/** `iotflow reset`: deletes everything in the data directory. */
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Command } from 'commander'
import { lockDataDir } from '../local/data-dir.ts'
import { CommandError, UsageError } from '../scripts/command.ts'
import { confirm } from './confirm.ts'
import { dataDirOf } from './connection.ts'
import { action, examples } from './context.ts'

/** What a server keeps in its data directory; anything else there is not ours. */
const names = ['registry.db', 'telemetry.db'].flatMap((name) => [name, `${name}-wal`, `${name}-shm`])
const others = ['databases.json', 'server.json', 'admin-token', 'webhook-signing-key', 'logs']

export const addReset = (to: Command) =>
  to
    .command('reset')
    .description('deletes all devices, readings and the admin token of the data directory')
    .option('--yes', 'does not ask')
    .addHelpText('after', examples('iotflow reset', 'iotflow reset --data-dir /var/lib/iotflow --yes'))
    .action(
      action(async ({ options, output }, { yes }: { readonly yes?: boolean }) => {
        if (options.url !== undefined)
          throw new UsageError('A reset is for the data directory of this machine.')
        const dataDir = dataDirOf(options)
        if (!existsSync(dataDir)) throw new CommandError(`There is no ${dataDir}.`)
        const unlock = await lockDataDir(dataDir)
        try {
          await confirm(`Everything in ${dataDir} will be deleted.`, basename(dataDir), yes)
          for (const name of [...names, ...others])
            await rm(join(dataDir, name), { recursive: true, force: true })
        } finally {
          unlock()
        }
        await output.result({ data_dir: dataDir }, () => `${dataDir} is empty: the next start begins anew.\n`)
      }),
    )
