/** Packages of stages, their copies for moto, and what has become of a stack. */
import { cp } from 'node:fs/promises'
import type { Aws } from '../support/aws.ts'
import { serverless } from '../support/serverless.ts'
import { withoutMotoGaps } from './moto-gaps.ts'
import { changeTemplate, type Template } from './template.ts'

export type Settings = Readonly<Record<string, string>>

/**
 * Settings of the stages that are deployed here. The addresses are those of nobody: the host of the functions replaces them by the
 * servers of the test.
 */
export const addresses = {
  database: 'https://registry.example.com',
  broker: 'a1b2c3-ats.iot.eu-central-1.amazonaws.com',
} as const

export const settings: Settings = {
  DATABASE_URL: addresses.database,
  IOT_ENDPOINT: addresses.broker,
  RATE_LIMIT_PER_MINUTE: '0',
  RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
  RATE_LIMIT_REGISTER_PER_5_MINUTES: '0',
  RATE_LIMIT_IP_PER_MINUTE: '0',
}

/** Packages a stage into a folder, without AWS credentials and without a region; with what is there only on request. */
export const packageStage = (stage: string, folder: string, environment: Settings = {}) =>
  serverless(['package', '--stage', stage, '--package', folder, '--param=monthlyBudgetUsd=50'], environment)

/** Copies a package to a folder, as one that moto can deploy. */
export async function copyForMoto(
  from: string,
  to: string,
  change: (template: Template) => Template = (template) => template,
): Promise<void> {
  await cp(from, to, { recursive: true })
  await changeTemplate(to, (template) => change(withoutMotoGaps(template)))
}

export interface StackResource {
  readonly id: string
  readonly physicalId: string
  readonly type: string
}

export interface Stack {
  /** `CREATE_COMPLETE`, `UPDATE_COMPLETE`, …; undefined when there is no such stack. */
  readonly status: string | undefined
  readonly resources: readonly StackResource[]
}

const textsOf = (xml: string, tag: string): string[] =>
  [...xml.matchAll(new RegExp(`<${tag}>([^<]*)</${tag}>`, 'g'))].map(([, text]) => text ?? '')

const cloudFormation = (aws: Aws, parameters: Settings) =>
  aws.query('cloudformation', '2010-05-15', parameters)

/** @param name `<service>-<stage>` */
export async function readStack(aws: Aws, name: string): Promise<Stack> {
  const found = await cloudFormation(aws, { Action: 'DescribeStacks', StackName: name })
  const [status] = textsOf(found, 'StackStatus')
  if (status === undefined) return { status, resources: [] }
  const xml = await cloudFormation(aws, { Action: 'ListStackResources', StackName: name })
  const resources = xml
    .split('<member>')
    .map((member) => ({
      id: textsOf(member, 'LogicalResourceId')[0] ?? '',
      physicalId: textsOf(member, 'PhysicalResourceId')[0] ?? '',
      type: textsOf(member, 'ResourceType')[0] ?? '',
    }))
    .filter(({ id }) => id !== '')
  return { status, resources }
}

export const secrets = {
  ADMIN_TOKEN: 'admin-token-of-the-deployment-tests',
  ENROLLMENT_KEY: 'enrollment-key-of-the-deployment-tests',
  DATABASE_AUTH_TOKEN: 'database-token-of-the-deployment-tests',
} as const

/** Puts {@link secrets} where the functions of a stage read them. */
export async function putSecrets(aws: Aws, stage: string): Promise<void> {
  for (const [name, Value] of Object.entries(secrets))
    await aws.call('ssm', 'AmazonSSM.PutParameter', {
      Name: `/iotflow/${stage}/${name}`,
      Value,
      Type: 'SecureString',
      Overwrite: true,
    })
}
