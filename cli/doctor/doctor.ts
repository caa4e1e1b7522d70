/** `iotflow doctor`: checks this machine and everything that the server uses, and says what to do. */
import type { Command } from 'commander'
import { type Config, ConfigError } from '../../lib/config.ts'
import { isDataDirLocked, lockDataDir } from '../../local/data-dir.ts'
import { databaseFiles } from '../../local/database-files.ts'
import { acceptDatabases } from '../../local/database-marks.ts'
import { readServerFile } from '../../local/server-file.ts'
import { CommandError } from '../../scripts/command.ts'
import { confirm } from '../confirm.ts'
import { action, examples, type GlobalOptions } from '../context.ts'
import { tableOf } from '../output.ts'
import { localSettings } from '../settings.ts'
import { checkBroker, checkDatabaseFiles, checkInflux, checkRedis, checkServer } from './backends.ts'
import { compareClock, type Finding, failed, ok } from './finding.ts'
import { checkDisk, checkNode, checkPorts } from './machine.ts'
import { checkWebhooks } from './webhooks.ts'

interface Options {
  readonly acceptData?: boolean
  readonly yes?: boolean
}

const timeoutMs = 5000

/** The server that runs: it is healthy, and has the same time. */
const checkRunning = async (dataDir: string): Promise<Finding[]> => {
  const url = (await readServerFile(dataDir))?.url
  if (url === undefined) return [ok('server', 'runs, without HTTP')]
  try {
    const before = Date.now()
    const response = await fetch(`${url}/health`, { signal: AbortSignal.timeout(timeoutMs) })
    const askedAt = (before + Date.now()) / 2
    const { status, timestamp } = (await response.json()) as { status: string; timestamp: string }
    const advice = 'iotflow status shows each check of the server.'
    return [
      status === 'unhealthy'
        ? failed('server', `is ${status}`, advice)
        : ok('server', `runs on ${url}, ${status}`),
      compareClock('server', Date.parse(timestamp), askedAt, 15_000),
    ]
  } catch {
    return [failed('server', `runs, but ${url} does not answer`, 'Restart it.')]
  }
}

/** @throws {ConfigError} for bad settings. */
const examine = async (config: Config, options: GlobalOptions): Promise<Finding[]> => {
  const runs = await isDataDirLocked(config.dataDir)
  return [
    checkNode(),
    ok('settings', `stage ${config.stage}`),
    await checkDisk(config.dataDir),
    ...(runs
      ? await checkRunning(config.dataDir)
      : [ok('server', 'does not run'), ...(await checkPorts(config))]),
    ...(await checkDatabaseFiles(config)),
    ...(await checkServer(config)),
    ...(await checkInflux(config)),
    ...(await checkRedis(config)),
    ...(await checkBroker(config)),
    ...(runs ? await checkWebhooks(options) : []),
  ]
}

const findingsOf = async (options: GlobalOptions): Promise<Finding[]> => {
  try {
    return await examine(localSettings(options, 'The doctor'), options)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const advice = 'Correct it in the environment or in .env; .env.example explains every setting.'
    return [checkNode(), ...error.problems.map((problem) => failed('settings', problem, advice))]
  }
}

const accept = async (config: Config, yes: boolean | undefined): Promise<void> => {
  const unlock = await lockDataDir(config.dataDir)
  try {
    const question = `The next start of ${config.dataDir} will accept the databases that are there, whatever they have lost.`
    await confirm(question, 'accept', yes)
    await acceptDatabases(config.dataDir, databaseFiles(config))
  } finally {
    unlock()
  }
}

export const addDoctor = (to: Command) =>
  to
    .command('doctor')
    .description(
      'checks Node, settings, disk, ports, databases, InfluxDB, Redis, broker, webhooks and clocks',
    )
    .option('--accept-data', 'makes the next start accept databases that have lost changes')
    .option('--yes', 'does not ask')
    .addHelpText('after', examples('iotflow doctor', 'iotflow doctor --json', 'iotflow doctor --accept-data'))
    .action(
      action(async ({ options, output }, { acceptData, yes }: Options) => {
        if (acceptData) {
          const config = localSettings(options, 'The doctor')
          await accept(config, yes)
          await output.result({ accepted: config.dataDir }, () => 'The next start accepts the databases.\n')
          return
        }
        const findings = await findingsOf(options)
        await output.result(findings, () =>
          [
            tableOf(
              ['', 'check', 'finding'],
              findings.map(({ check, status, message }) => [status, check, message]),
            ),
            ...new Set(
              findings.flatMap(({ check, advice }) =>
                advice === undefined ? [] : [`\n${check}: ${advice}\n`],
              ),
            ),
          ].join(''),
        )
        const count = findings.filter(({ status }) => status === 'failed').length
        if (count > 0) throw new CommandError(`${count} checks failed.`)
      }),
    )
