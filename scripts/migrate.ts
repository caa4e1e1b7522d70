/** `npm run db:migrate`: brings the databases of the settings up to date. Every deployment does it too. */
import { loadConfig, loadEnvFile } from '../lib/config.ts'
import { createLog } from '../lib/log.ts'
import { lockDataDir } from '../local/data-dir.ts'
import { prepareDatabases } from '../local/databases.ts'
import { parseOptions, runCommand } from './command.ts'

const help = `Brings the databases of the settings up to date: the registry, and the tables and buckets for telemetry.

  npm run db:migrate
`

const migrate = async (): Promise<void> => {
  loadEnvFile('.env')
  // Migrations count no requests, and the token of a deployed stage is only in its parameter store.
  const config = loadConfig({
    ...process.env,
    UPSTASH_REDIS_REST_URL: '',
    UPSTASH_REDIS_REST_TOKEN: '',
  })
  const { database, dataDir, stage } = config
  const isFile = database.url.startsWith('file:')
  if (isFile && stage !== 'local')
    throw new Error(`Stage ${stage} has no disk of its own: set DATABASE_URL to a libSQL server.`)
  const unlock = isFile ? await lockDataDir(dataDir) : () => {}
  try {
    const log = createLog(config.logLevel)
    await prepareDatabases(config, log)
    log.flush()
  } finally {
    unlock()
  }
  process.stdout.write(`The databases of stage ${stage} are up to date.\n`)
}

export const main = () =>
  runCommand(async () => {
    const { values } = parseOptions({ options: { help: { type: 'boolean', short: 'h' } } })
    if (values.help) process.stdout.write(help)
    else await migrate()
    return 0
  })
