/** What is checked before a deployment changes anything. Every problem is one sentence that says what to do. */
import { type Config, ConfigError, loadConfig, settingNames } from '../../lib/config.ts'
import { type SecretSetting, secretSettings } from '../../lib/lambda/secrets.ts'
import { isLoopback } from '../../lib/loopback.ts'
import type { Parameter } from './parameters.ts'
import {
  type DeployedStage,
  deploymentSettings,
  fileOf,
  type StageSettings,
  settingsOfStage,
} from './stage-settings.ts'

/** Requests are counted unless all of these are 0. */
const limits = [
  'RATE_LIMIT_PER_MINUTE',
  'RATE_LIMIT_TELEMETRY_PER_MINUTE',
  'RATE_LIMIT_REGISTER_PER_5_MINUTES',
  'RATE_LIMIT_IP_PER_MINUTE',
]

/** Settings that open something to everybody. */
const openSettings = ['OPEN_REGISTRATION', 'PUBLIC_TELEMETRY_READS']

export interface Deployment {
  readonly stage: DeployedStage
  readonly region: string
  readonly settings: StageSettings
  /** Names that stand in `.env.<stage>`. */
  readonly namesInFile: readonly string[]
  /** Settings that the functions get; others have no effect in the cloud. */
  readonly deployed: readonly string[]
  /** Those of them that serverless.yml derives from the stage, such as the first level of its topics. */
  readonly derived: Readonly<Record<string, string>>
  /** `--param open=…`: open settings that the operator confirms, separated by commas. */
  readonly confirmedOpen: string
  /** Undefined for AWS; else the address that stands in for it. */
  readonly awsEndpoint: string | undefined
}

const hostOf = (url: string) => (URL.canParse(url) ? new URL(url).hostname.replace(/^\[|\]$/g, '') : '')

const isTrue = (value: string) => /^(?:true|1|yes)$/i.test(value)

/** Whether the cloud is a stand-in on this computer, as in tests. */
const isOnThisComputer = ({ awsEndpoint }: Deployment) =>
  awsEndpoint !== undefined && isLoopback(hostOf(awsEndpoint))

const holdsCredential = (url: string) => {
  if (!URL.canParse(url)) return false
  const { username, password, search } = new URL(url)
  return username !== '' || password !== '' || /auth|token|key/i.test(search)
}

const databaseProblem = (url: string, onThisComputer: boolean): string | undefined => {
  if (url === '') return 'DATABASE_URL is missing: the address of a libSQL server, libsql:// or https://.'
  if (holdsCredential(url))
    return 'DATABASE_URL must hold no credential: put it into the parameter DATABASE_AUTH_TOKEN.'
  if (onThisComputer && /^https?:/.test(url)) return undefined
  if (!/^(?:libsql|https):\/\//.test(url))
    return 'DATABASE_URL must be a libSQL server that the functions can reach: libsql:// or https://, no file and no http://.'
  return isLoopback(hostOf(url))
    ? 'DATABASE_URL names this computer, which the functions cannot reach: use the address of the libSQL server.'
    : undefined
}

const endpointProblem = (endpoint: string, region: string): string | undefined => {
  if (endpoint === '')
    return `IOT_ENDPOINT is missing: aws iot describe-endpoint --endpoint-type iot:Data-ATS --region ${region} prints it.`
  const [, own] = /\.iot\.([a-z\d-]+)\.amazonaws\./.exec(endpoint) ?? []
  return own !== undefined && own !== region
    ? `IOT_ENDPOINT is in ${own}, but the deployment goes to ${region}: name one region for both.`
    : undefined
}

const countingProblems = (value: (name: string) => string): string[] => {
  const found: string[] = []
  if (value('REDIS_URL') !== '')
    found.push('REDIS_URL is for one machine: functions count requests at UPSTASH_REDIS_REST_URL. Remove it.')
  // Each container of a function would count alone in its memory.
  if (value('UPSTASH_REDIS_REST_URL') === '' && limits.some((name) => !/^0+$/.test(value(name))))
    found.push(
      `UPSTASH_REDIS_REST_URL is missing: functions count requests there, unless ${limits.join(', ')} are 0.`,
    )
  return found
}

const fileProblems = ({ stage, namesInFile, deployed }: Deployment): string[] => {
  const file = fileOf(stage)
  const secrets: readonly string[] = secretSettings
  const ofStage: readonly string[] = settingsOfStage
  const allowed = [...deployed, ...deploymentSettings].filter((name) => !ofStage.includes(name))
  return namesInFile.flatMap((name) => {
    if (name === 'STAGE') return [`${file} must not set STAGE: --stage does.`]
    if (secrets.includes(name))
      return [`${name} is a secret: put it into the parameter store, and remove it from ${file}.`]
    if (allowed.includes(name)) return []
    return settingNames.includes(name)
      ? [`${name} has no effect in the cloud: remove it from ${file}.`]
      : [`${name} is no setting: correct it in ${file}, or remove it.`]
  })
}

const openProblems = ({ stage, settings, confirmedOpen }: Deployment): string[] => {
  if (stage !== 'prod') return []
  const confirmed = confirmedOpen.split(',').map((name) => name.trim())
  return openSettings
    .filter((name) => isTrue(settings[name]?.value ?? '') && !confirmed.includes(name))
    .map(
      (name) =>
        `${name} opens prod to everybody (from ${settings[name]?.source}): remove it, or say it again with --param open=${openSettings.join(',')}.`,
    )
}

/** Settings as the functions get them. @param secrets by name. */
export const environmentOf = (
  { stage, region, settings, derived }: Pick<Deployment, 'stage' | 'region' | 'settings' | 'derived'>,
  secrets: Readonly<Record<string, string>>,
): Record<string, string> => ({
  ...Object.fromEntries(Object.entries(settings).map(([name, { value }]) => [name, value])),
  ...derived,
  ...secrets,
  STAGE: stage,
  AWS_REGION: region,
})

/** Bad values, by the schema that the functions use. @param secrets those that are known. */
const schemaProblems = (environment: Record<string, string>): string[] => {
  try {
    loadConfig(environment)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
}

/** Secrets that the functions of this deployment cannot do without. */
export const neededSecrets = (settings: StageSettings): SecretSetting[] => [
  'ADMIN_TOKEN',
  'DATABASE_AUTH_TOKEN',
  ...(settings.UPSTASH_REDIS_REST_URL ? (['UPSTASH_REDIS_REST_TOKEN'] as const) : []),
  ...(settings.INFLUXDB_URL ? (['INFLUXDB_TOKEN'] as const) : []),
]

/** Problems that show without asking anybody. */
export function settingProblems(deployment: Deployment): string[] {
  const { region, settings } = deployment
  const value = (name: string) => settings[name]?.value ?? ''
  // The secrets are not known yet: these stand in for those that must be there.
  const standIns = Object.fromEntries(neededSecrets(settings).map((name) => [name, 'x'.repeat(24)]))
  const found = [
    databaseProblem(value('DATABASE_URL'), isOnThisComputer(deployment)),
    endpointProblem(value('IOT_ENDPOINT'), region),
    ...countingProblems(value),
    /^(?:|queue|direct)$/.test(value('INGEST_MODE')) ? undefined : 'INGEST_MODE must be queue or direct.',
    ...['UPSTASH_REDIS_REST_URL', 'INFLUXDB_URL']
      .filter((name) => holdsCredential(value(name)))
      .map((name) => `${name} must hold no credential: put it into the parameter store.`),
    ...fileProblems(deployment),
    ...openProblems(deployment),
  ].filter((problem) => problem !== undefined)
  const named = new Set(found.map((problem) => problem.split(' ', 1)[0]))
  const more = schemaProblems({ ...environmentOf(deployment, standIns), REDIS_URL: '' })
  return [...found, ...more.filter((problem) => !named.has(problem.split(' ', 1)[0]))]
}

/** @param path under which the parameters of the stage are. */
const howToPut = (path: string, name: string, region: string) =>
  `aws ssm put-parameter --region ${region} --type SecureString --name ${path}/${name} --value …`

/** Problems of the parameters, by which a secret is missing, readable for everybody, or of the wrong form. */
export function parameterProblems(
  deployment: Deployment,
  path: string,
  parameters: ReadonlyMap<string, Parameter>,
): string[] {
  const { region } = deployment
  const missing = neededSecrets(deployment.settings)
    .filter((name) => !parameters.has(name))
    .map((name) => `${name} is missing in the parameter store: ${howToPut(path, name, region)}`)
  const readable = [...parameters]
    .filter(([, { type }]) => type !== 'SecureString')
    .map(
      ([name, { type }]) =>
        `${name} is a ${type} in the parameter store, not encrypted: delete it, then ${howToPut(path, name, region)}`,
    )
  if (missing.length + readable.length > 0) return [...missing, ...readable]
  return schemaProblems(environmentOf(deployment, valuesOf(parameters)))
}

export const valuesOf = (parameters: ReadonlyMap<string, Parameter>): Record<string, string> =>
  Object.fromEntries([...parameters].map(([name, { value }]) => [name, value]))

/**
 * The settings with which to migrate the databases. Migrations count no requests.
 * @throws {ConfigError}
 */
export const configOf = (deployment: Deployment, parameters: ReadonlyMap<string, Parameter>): Config =>
  loadConfig({
    ...environmentOf(deployment, valuesOf(parameters)),
    UPSTASH_REDIS_REST_URL: '',
    UPSTASH_REDIS_REST_TOKEN: '',
  })

/** One line for each setting and secret of a deployment, without the values of secrets. */
export function describeDeployment(
  { settings }: Pick<Deployment, 'settings'>,
  path: string,
  parameters: ReadonlyMap<string, Parameter>,
): string {
  const lines: [string, string, string][] = Object.entries(settings)
    .filter(([name]) => name !== 'AWS_REGION')
    .map(([name, { value, source }]) => [name, value, source])
  for (const name of secretSettings) {
    const parameter = parameters.get(name)
    const where = `${path}/${name}`
    lines.push([
      name,
      parameter === undefined ? 'none' : '***',
      parameter === undefined ? where : `${where}, version ${parameter.version}`,
    ])
  }
  const [first, second] = [0, 1].map((at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)))
  return lines
    .map(([name, value, source]) => `  ${name.padEnd(first ?? 0)}  ${value.padEnd(second ?? 0)}  ${source}\n`)
    .join('')
}
