/** `npm run db:migrate`: brings the databases of the settings up to date; a step of every deploy. */
import { ConfigError, loadConfig, loadEnvFile } from '../lib/config.ts'
import { openRegistry } from '../lib/registry/db.ts'
import { prepareServer } from '../lib/telemetry/embedded.ts'
import { step, takeFolder } from './machine.ts'

const main = async () => {
  loadEnvFile('.env')
  const { database, dataDir, stage } = loadConfig()
  const isFile = database.url.startsWith('file:')
  if (isFile && stage !== 'local')
    throw new Error(`Stage ${stage} has no disk of its own: set DATABASE_URL to a libSQL server.`)
  const giveBack = isFile ? await takeFolder(dataDir) : () => {}
  await step('The database of DATABASE_URL cannot be brought up to date', async () => {
    const registry = await openRegistry(database)
    await registry.migrate()
    registry.close()
    if (!isFile) await prepareServer(database.url, database.authToken)
  })
  giveBack()
  process.stdout.write(`The databases of stage ${stage} are up to date.\n`)
}

main().catch((error: unknown) => {
  const text = error instanceof ConfigError ? error.problems.join('\n') : (error as Error).message
  process.stderr.write(`${text}\n`)
  process.exit(1)
})
