/** `iotflow token rotate`: makes a new admin token in the data directory. */
import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Command } from 'commander'
import { mintKey } from '../lib/devices/credentials.ts'
import { isDataDirLocked } from '../local/data-dir.ts'
import { CommandError, UsageError } from '../scripts/command.ts'
import { dataDirOf } from './connection.ts'
import { action, examples } from './context.ts'

const tokenLength = 40

export const addRotateToken = (to: Command) =>
  to
    .command('rotate')
    .description('makes a new admin token in the data directory; the server reads it when it starts')
    .addHelpText('after', examples('iotflow token rotate'))
    .action(
      action(async ({ options, output }) => {
        if (options.url !== undefined)
          throw new UsageError('The token of a server elsewhere is its ADMIN_TOKEN: change it there.')
        const dataDir = dataDirOf(options)
        if (process.env.ADMIN_TOKEN)
          throw new CommandError('The token is set by ADMIN_TOKEN: change it there, and restart the server.')
        const file = join(dataDir, 'admin-token')
        const fresh = await open(`${file}.new`, 'w', 0o600).catch((error: NodeJS.ErrnoException) => {
          throw new CommandError(`${file} cannot be written (${error.code}).`)
        })
        await fresh.writeFile(`${mintKey(tokenLength)}\n`)
        await fresh.sync()
        await fresh.close()
        await rename(`${file}.new`, file)
        const runs = await isDataDirLocked(dataDir)
        await output.result({ file, restart_needed: runs }, () =>
          runs
            ? `The new token is in ${file}. The server that runs keeps the old one until it is restarted.\n`
            : `The new token is in ${file}.\n`,
        )
      }),
    )
