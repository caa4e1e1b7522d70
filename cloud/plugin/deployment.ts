/** The steps of a deployment: checks, build, migration, and what the framework has to know about each function. */
import { readFile } from 'node:fs/promises'
import type { AwsAccess } from '../../lib/lambda/aws.ts'
import { createLog } from '../../lib/log.ts'
import { prepareDatabases } from '../../local/databases.ts'
import { buildCloud, type CloudContents, contentsFile } from '../../scripts/build.ts'
import {
  configOf,
  type Deployment,
  describeDeployment,
  parameterProblems,
  settingProblems,
} from './checks.ts'
import { addLogGroups } from './logs.ts'
import { type Parameter, readParameters } from './parameters.ts'
import { addRoles, callFunctionsByRole, type ServiceDefinition } from './roles.ts'
import { parseStage, readStageSettings } from './stage-settings.ts'

export { addLogGroups, addRoles, buildCloud, callFunctionsByRole, parseStage }

/** Who deploys. */
export interface Identity {
  readonly accountId: string
  readonly arn: string
}

/** What the framework knows and does for a deployment. */
export interface DeploymentContext {
  /** `--stage`; undefined when it was not given. */
  readonly stage: unknown
  readonly region: string
  readonly service: ServiceDefinition & { readonly custom?: { readonly open?: unknown } }
  readonly environment: Readonly<Record<string, string | undefined>>
  /** @throws {Error} when there are no credentials, or AWS refuses them. */
  identify(): Promise<Identity>
  credentials(): Promise<Omit<AwsAccess, 'region'>>
  /** Shows lines to the operator. */
  write(text: string): void
}

/** A deployment that may begin. */
export interface CheckedDeployment {
  readonly deployment: Deployment
  readonly parameters: ReadonlyMap<string, Parameter>
}

const stopAt = (problems: readonly string[]) => {
  if (problems.length > 0)
    throw new Error(`Nothing was changed:\n${problems.map((one) => `- ${one}`).join('\n')}`)
}

const identify = async (context: DeploymentContext): Promise<Identity> => {
  try {
    return await context.identify()
  } catch (error) {
    const [first] = (error as Error).message.split('\n')
    throw new Error(
      `Nothing was changed:\n- There are no AWS credentials that work (${first}): set AWS_PROFILE, or log in; aws sts get-caller-identity shows who you are.`,
    )
  }
}

/** The settings that go with each other, and of which the operator may have said nothing. */
const derivedOf = ({ provider: { environment = {} } }: ServiceDefinition): Record<string, string> =>
  Object.fromEntries(
    Object.entries(environment).filter(
      (entry): entry is [string, string] =>
        ['IOT_DOMAIN_CONFIGURATION', 'TOPIC_ROOT'].includes(entry[0]) && typeof entry[1] === 'string',
    ),
  )

/**
 * Checks a deployment before anything is changed, and shows what it will be.
 * @throws {Error} with one sentence for each problem.
 */
export async function checkDeployment(context: DeploymentContext): Promise<CheckedDeployment> {
  const stage = parseStage(context.stage)
  const { service, region, environment } = context
  const awsEndpoint = environment.AWS_ENDPOINT_URL || undefined
  const deployment: Deployment = {
    stage,
    region,
    ...readStageSettings(stage, environment),
    deployed: Object.keys(service.provider.environment ?? {}),
    derived: derivedOf(service),
    confirmedOpen: String(service.custom?.open ?? ''),
    awsEndpoint,
  }
  stopAt(settingProblems(deployment))
  const { accountId, arn } = await identify(context)
  const expected = deployment.settings.AWS_ACCOUNT_ID
  stopAt(
    expected === undefined || expected.value === accountId
      ? []
      : [
          `These credentials are of account ${accountId}, but AWS_ACCOUNT_ID of ${expected.source} is ${expected.value}: use the credentials of that account.`,
        ],
  )
  const path = `/${service.service}/${stage}`
  const access = { region, ...(await context.credentials()) }
  const parameters = await readParameters(access, path, awsEndpoint)
  stopAt(parameterProblems(deployment, path, parameters))
  context.write(
    `\nStage ${stage} of ${service.service}, in ${region} of account ${accountId}, as ${arn}${awsEndpoint === undefined ? '' : `, at ${awsEndpoint}`}:\n\n${describeDeployment(deployment, path, parameters)}`,
  )
  return { deployment, parameters }
}

/** Brings the databases up to date, with the secrets that the functions use. @throws {Error} one sentence. */
export async function migrate({ deployment, parameters }: CheckedDeployment): Promise<void> {
  const config = configOf(deployment, parameters)
  const log = createLog(config.logLevel)
  await prepareDatabases(config, log)
  log.flush()
}

/** What is in the bundles of `dist/cloud`. @throws {Error} one sentence when they are not built. */
export async function readContents(): Promise<CloudContents> {
  try {
    return JSON.parse(await readFile(contentsFile, 'utf8')) as CloudContents
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new Error('The functions are not built: run npm run build.')
  }
}
