/** `npm run deploy`: checks the settings of a stage, builds it, migrates its databases, and deploys it. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { loadEnvFile } from '../lib/config.ts'
import { root } from '../lib/root.ts'
import { parseOptions, runCommand, UsageError } from './command.ts'

const help = `Builds every function, brings the databases up to date, and deploys all of it to AWS.

  npm run deploy -- --stage <dev|staging|prod> [--region <region>]

AWS credentials come from the places that every AWS tool reads. DATABASE_URL, DATABASE_AUTH_TOKEN, IOT_ENDPOINT and
UPSTASH_REDIS_REST_URL come from the environment or from .env. docs/deploy.md says how to get them, and where the secrets
of a stage are kept.
`

const stages = ['dev', 'staging', 'prod'] as const

export interface Deployment {
  readonly stage: (typeof stages)[number]
  readonly region: string | undefined
}

/** @returns undefined when help is asked for. @throws {UsageError} */
export function parseDeployment(args: readonly string[]): Deployment | undefined {
  const { values } = parseOptions({
    args: [...args],
    options: { stage: { type: 'string' }, region: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help) return undefined
  const stage = stages.find((one) => one === values.stage)
  if (stage === undefined) throw new UsageError('--stage must be dev, staging or prod.')
  return { stage, region: values.region }
}

/** Requests are counted unless all of these are 0. */
const limits = [
  'RATE_LIMIT_PER_MINUTE',
  'RATE_LIMIT_TELEMETRY_PER_MINUTE',
  'RATE_LIMIT_REGISTER_PER_5_MINUTES',
  'RATE_LIMIT_IP_PER_MINUTE',
]

/** One sentence for each setting that a deployment needs and does not have; it begins with the name of the setting. */
export function missingFor(env: Readonly<Record<string, string | undefined>>): string[] {
  const { DATABASE_URL: url = '', IOT_ENDPOINT: endpoint = '', REDIS_URL: redis = '' } = env
  const missing: string[] = []
  if (!/^(?:libsql|https):\/\//.test(url))
    missing.push(
      'DATABASE_URL must be the address of a libSQL server that the functions can reach: libsql:// or https://.',
    )
  if (endpoint === '')
    missing.push('IOT_ENDPOINT is missing: aws iot describe-endpoint --endpoint-type iot:Data-ATS prints it.')
  if (redis !== '')
    missing.push(
      'REDIS_URL is for a standalone server: functions count requests at UPSTASH_REDIS_REST_URL. Unset REDIS_URL here.',
    )
  // Each container of a function would count alone in its memory.
  if (!env.UPSTASH_REDIS_REST_URL && limits.some((name) => !/^0+$/.test(env[name] ?? '')))
    missing.push(
      `UPSTASH_REDIS_REST_URL is missing: functions count requests there, unless ${limits.join(', ')} are 0.`,
    )
  return missing
}

const steps = ({ stage, region }: Deployment): string[][] => [
  ['scripts/run.mjs', 'scripts/build.ts'],
  ['scripts/run.mjs', 'scripts/migrate.ts'],
  [
    'node_modules/serverless/bin/serverless.js',
    'deploy',
    ...['--stage', stage],
    ...(region === undefined ? [] : ['--region', region]),
  ],
]

export const main = () =>
  runCommand(() => {
    const deployment = parseDeployment(process.argv.slice(2))
    if (deployment === undefined) {
      process.stdout.write(help)
      return 0
    }
    loadEnvFile('.env')
    const missing = missingFor(process.env)
    if (missing.length > 0) throw new Error(missing.join('\n'))
    for (const args of steps(deployment)) {
      const { status } = spawnSync(process.execPath, args, {
        cwd: fileURLToPath(root),
        stdio: 'inherit',
        // The migration reads the stage from its settings.
        env: { ...process.env, STAGE: deployment.stage },
      })
      if (status !== 0) throw new Error(`The deployment stopped: ${args.slice(-3).join(' ')} failed.`)
    }
    return 0
  })
