/** `npm run db:migrate`: brings the databases of the settings up to date; a step of every deploy. */
import { ConfigError, loadConfig, loadEnvFile } from '../lib/config.ts'
import { createLog } from '../lib/log.ts'
import { prepareDatabases } from './databases.ts'
import { takeFolder } from './folder.ts'

const main = async () => {
  loadEnvFile('.env')
  // It counts no requests, and a deployed stage has the token for that in the parameter store only.
  const config = loadConfig({
    ...process.env,
    UPSTASH_REDIS_REST_URL: '',
    UPSTASH_REDIS_REST_TOKEN: '',
  })
  const { database, dataDir, stage } = config
  const isFile = database.url.startsWith('file:')
  if (isFile && stage !== 'local')
    throw new Error(`Stage ${stage} has no disk of its own: set DATABASE_URL to a libSQL server.`)
  const giveBack = isFile ? await takeFolder(dataDir) : () => {}
  const log = createLog(config.logLevel)
  await prepareDatabases(config, log)
  log.flush()
  giveBack()
  process.stdout.write(`The databases of stage ${stage} are up to date.\n`)
}

main().catch((error: unknown) => {
  const text = error instanceof ConfigError ? error.problems.join('\n') : (error as Error).message
  process.stderr.write(`${text}\n`)
  process.exit(1)
})
