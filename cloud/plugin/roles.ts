/** Gives every function a role with exactly the rights that its bundle needs, and the secrets that go with them. */
import { createHash } from 'node:crypto'
import type { CloudContents } from '../../scripts/build.ts'
import {
  type RightName,
  rightsOf,
  type StageOfBroker,
  type Statement,
  secretsOf,
  statementsOf,
  type Value,
} from './rights.ts'

/** A function of serverless.yml, with what this plugin adds. */
export interface FunctionDefinition {
  readonly name: string
  role?: unknown
  environment?: Record<string, unknown>
  readonly events?: readonly Record<string, unknown>[]
  readonly destinations?: { readonly onFailure?: unknown; readonly onSuccess?: unknown }
  readonly tracing?: unknown
  readonly vpc?: unknown
  logs?: { readonly logGroup: string }
  disableLogs?: boolean
  dependsOn?: readonly string[]
}

/** The part of the service that is read and changed. */
export interface ServiceDefinition {
  readonly service: string
  readonly custom: StageOfBroker
  readonly provider: {
    readonly environment?: Readonly<Record<string, unknown>>
    readonly tracing?: { readonly lambda?: unknown }
    readonly vpc?: unknown
    readonly logRetentionInDays?: number
    readonly iam?: { readonly role?: { readonly statements?: unknown } }
  }
  readonly functions: Readonly<Record<string, FunctionDefinition>>
  resources?: { Resources?: Record<string, unknown> }
}

/** Secrets that belong to an address: a function without the secret gets no address either. */
const addressOf: Partial<Record<string, string>> = {
  UPSTASH_REDIS_REST_TOKEN: 'UPSTASH_REDIS_REST_URL',
  INFLUXDB_TOKEN: 'INFLUXDB_URL',
}

const pascal = (text: string) => text.replace(/(?:^|-)(\w)/g, (_, first: string) => first.toUpperCase())

const allow = (Action: readonly string[], Resource: Statement['Resource']): Statement => ({
  Effect: 'Allow',
  Action,
  Resource,
})

const queueOf = (value: unknown): Value | undefined => {
  const queue = value as { type?: unknown; arn?: Value } | undefined
  return queue?.type === 'sqs' ? queue.arn : undefined
}

/** Rights that follow from serverless.yml, where the framework gives them to the one role of its own only. */
const statementsOfDefinition = (
  { events = [], destinations = {}, tracing }: FunctionDefinition,
  provider: ServiceDefinition['provider'],
): Statement[] => {
  const queues = events.flatMap(({ sqs }): Value[] =>
    sqs === undefined ? [] : [(sqs as { arn: Value }).arn],
  )
  const targets = [queueOf(destinations.onFailure), queueOf(destinations.onSuccess)].filter(
    (one) => one !== undefined,
  )
  return [
    ...(queues.length > 0
      ? [allow(['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes'], queues)]
      : []),
    ...(targets.length > 0 ? [allow(['sqs:SendMessage'], targets)] : []),
    // X-Ray has no resources.
    ...((tracing ?? provider.tracing?.lambda)
      ? [allow(['xray:PutTraceSegments', 'xray:PutTelemetryRecords'], '*')]
      : []),
  ]
}

const logsOf = (functions: readonly FunctionDefinition[]): Statement =>
  allow(
    ['logs:CreateLogStream', 'logs:PutLogEvents'],
    [...new Set(functions.map(({ logs }) => logs?.logGroup))].map((group) => ({
      'Fn::Sub': `arn:\${AWS::Partition}:logs:\${AWS::Region}:\${AWS::AccountId}:log-group:${group}:*`,
    })),
  )

const role = (principal: string, statements: readonly Statement[], managed: readonly Value[] = []) => ({
  Type: 'AWS::IAM::Role',
  Properties: {
    AssumeRolePolicyDocument: {
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Principal: { Service: principal }, Action: 'sts:AssumeRole' }],
    },
    ...(managed.length > 0 ? { ManagedPolicyArns: managed } : {}),
    Policies: [{ PolicyName: 'rights', PolicyDocument: { Version: '2012-10-17', Statement: statements } }],
  },
})

const interfacesInVpc: Value = {
  'Fn::Sub': 'arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole',
}

interface Group {
  readonly id: string
  readonly statements: readonly Statement[]
  readonly managed: readonly Value[]
  readonly functions: FunctionDefinition[]
}

const idOf = (rights: readonly RightName[], own: readonly unknown[]) => {
  const name = rights.length === 0 ? 'Logs' : rights.map(pascal).join('')
  // What serverless.yml adds has no name of its own.
  const suffix =
    own.length === 0 ? '' : createHash('sha256').update(JSON.stringify(own)).digest('hex').slice(0, 6)
  return `RoleFor${name}${suffix}`
}

/**
 * Sets the role of every function, `SECRETS`, and no address of a server whose secret it does not get. Functions with equal
 * rights share a role, because a stack has at most 500 resources; beyond its rights, such a function can only write to the logs
 * of the others. The log groups must have been added before.
 * @throws {Error} one sentence when a bundle is missing, or rights stand in serverless.yml.
 */
export function addRoles(service: ServiceDefinition, stage: string, contents: CloudContents): void {
  const { custom, provider, functions } = service
  if (provider.iam?.role?.statements !== undefined)
    throw new Error('provider.iam.role.statements have no effect: rights stand in cloud/plugin/rights.ts.')
  const groups = new Map<string, Group>()
  for (const [name, definition] of Object.entries(functions)) {
    const bundle = contents[name]
    if (bundle === undefined) throw new Error(`${name} has no bundle: run npm run build.`)
    const rights = rightsOf(bundle)
    const secrets = secretsOf(rights)
    const own = statementsOfDefinition(definition, provider)
    const managed = (definition.vpc ?? provider.vpc ?? undefined) === undefined ? [] : [interfacesInVpc]
    const id = idOf(rights, [...own, ...managed])
    const group = groups.get(id) ?? {
      id,
      statements: [...statementsOf(rights, { ...custom, service: service.service, stage }), ...own],
      managed,
      functions: [],
    }
    groups.set(id, group)
    group.functions.push(definition)
    definition.role = id
    const withheld = Object.entries(addressOf).filter(([secret]) => !(secrets as string[]).includes(secret))
    definition.environment = {
      ...definition.environment,
      ...Object.fromEntries(withheld.map(([, address]) => [address, ''])),
      SECRETS: secrets.join(','),
    }
  }
  const resources: Record<string, unknown> = service.resources?.Resources ?? {}
  service.resources = { ...service.resources, Resources: resources }
  for (const { id, statements, managed, functions: sharing } of groups.values())
    resources[id] = role('lambda.amazonaws.com', [...statements, logsOf(sharing)], managed)
}

interface Resource {
  readonly Type: string
  // biome-ignore lint/suspicious/noExplicitAny: CloudFormation defines the shape of each type.
  readonly Properties: any
}

/**
 * Lets the API call its functions by one role, in place of a permission for each function: that saves a sixth of the stack's
 * resources.
 */
export function callFunctionsByRole(resources: Record<string, Resource>): void {
  const called: Value[] = []
  for (const [id, { Type, Properties }] of Object.entries(resources)) {
    if (Type === 'AWS::Lambda::Permission' && Properties.Principal === 'apigateway.amazonaws.com')
      delete resources[id]
    if (Type !== 'AWS::ApiGatewayV2::Integration') continue
    called.push(Properties.IntegrationUri)
    Properties.CredentialsArn = { 'Fn::GetAtt': ['HttpApiRole', 'Arn'] }
  }
  if (called.length > 0)
    resources.HttpApiRole = role('apigateway.amazonaws.com', [allow(['lambda:InvokeFunction'], called)])
}
