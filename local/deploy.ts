/** `npm run deploy`: what a stage needs is checked, then it is built, its databases are brought up to date, and it is deployed. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { loadEnvFile } from '../lib/config.ts'

const help = `Builds every function, brings the databases up to date, and deploys all of it to AWS.

  npm run deploy -- --stage <dev|staging|prod> [--region <region>]

Credentials of AWS come from where the AWS tools look for them; DATABASE_URL, DATABASE_AUTH_TOKEN, IOT_ENDPOINT and
UPSTASH_REDIS_REST_URL from the environment or from .env. docs/deploy.md says how to get them, and where the secrets of
a stage are kept.
`

const stages = ['dev', 'staging', 'prod'] as const

export interface Deployment {
  readonly stage: (typeof stages)[number]
  readonly region: string | undefined
}

/** What was asked for, undefined for the help. @throws {Error} one sentence for an argument that is wrong. */
export function parseDeployment(args: readonly string[]): Deployment | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: { stage: { type: 'string' }, region: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help) return undefined
  const stage = stages.find((one) => one === values.stage)
  if (stage === undefined) throw new Error('--stage must be dev, staging or prod.')
  return { stage, region: values.region }
}

const limits = [
  'RATE_LIMIT_PER_MINUTE',
  'RATE_LIMIT_TELEMETRY_PER_MINUTE',
  'RATE_LIMIT_REGISTER_PER_5_MINUTES',
  'RATE_LIMIT_IP_PER_MINUTE',
]

/** What is missing for a deployment, a sentence each. */
export function missingFor(env: Readonly<Record<string, string | undefined>>): string[] {
  const { DATABASE_URL: url = '', IOT_ENDPOINT: endpoint = '', REDIS_URL: redis = '' } = env
  const missing: string[] = []
  if (!/^(?:libsql|https):\/\//.test(url))
    missing.push('DATABASE_URL must be a libSQL server that the functions reach: libsql:// or https://.')
  if (endpoint === '')
    missing.push('IOT_ENDPOINT is missing: aws iot describe-endpoint --endpoint-type iot:Data-ATS tells it.')
  if (redis !== '')
    missing.push(
      'REDIS_URL is for one machine: functions count at UPSTASH_REDIS_REST_URL. Leave it out here.',
    )
  // In memory each container would count for itself.
  if (!env.UPSTASH_REDIS_REST_URL && limits.some((name) => !/^0+$/.test(env[name] ?? '')))
    missing.push(
      `UPSTASH_REDIS_REST_URL is missing: functions count there, unless ${limits.join(', ')} are 0.`,
    )
  return missing
}

const steps = ({ stage, region }: Deployment): [string, string[]][] => [
  ['node', ['--import', 'tsx', 'local/build.ts']],
  ['node', ['--import', 'tsx', 'local/migrate.ts']],
  [
    'node',
    [
      'node_modules/serverless/bin/serverless.js',
      'deploy',
      ...['--stage', stage],
      ...(region === undefined ? [] : ['--region', region]),
    ],
  ],
]

const main = (): number => {
  const deployment = parseDeployment(process.argv.slice(2))
  if (deployment === undefined) {
    process.stdout.write(help)
    return 0
  }
  loadEnvFile('.env')
  const missing = missingFor(process.env)
  if (missing.length > 0) throw new Error(missing.join('\n'))
  for (const [program, args] of steps(deployment)) {
    const { status } = spawnSync(program, args, {
      cwd: fileURLToPath(new URL('../', import.meta.url)),
      stdio: 'inherit',
      // The migration is that of the stage.
      env: { ...process.env, STAGE: deployment.stage },
    })
    if (status !== 0) throw new Error(`Nothing more was done: ${args.slice(-3).join(' ')} failed.`)
  }
  return 0
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    process.exitCode = main()
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    process.exitCode = 1
  }
}
