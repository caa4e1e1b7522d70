import { expect, it } from 'vitest'
import { addLogGroups } from '../../../cloud/plugin/logs.ts'
import { addRoles, callFunctionsByRole, type ServiceDefinition } from '../../../cloud/plugin/roles.ts'
import type { BundleContents } from '../../../scripts/build.ts'

const bundle = (modules: string[], checks: BundleContents['checks'] = []): BundleContents => ({
  bytes: 1,
  files: [],
  modules,
  checks,
})

const contents = {
  read: bundle(['lib/libsql/client.ts', 'lib/http/limit/upstash.ts'], ['admin']),
  list: bundle(['lib/libsql/client.ts', 'lib/http/limit/upstash.ts'], ['admin']),
  send: bundle(['lib/libsql/client.ts', 'lib/commands/deliverer.ts']),
  page: bundle(['lib/serve.ts']),
}

interface Role {
  readonly Properties: {
    readonly ManagedPolicyArns?: unknown
    readonly Policies: readonly [
      { readonly PolicyDocument: { readonly Statement: readonly { Action: string[]; Resource: unknown }[] } },
    ]
  }
}

const serviceOf = (
  more: Partial<Record<keyof typeof contents, object>> = {},
  provider: ServiceDefinition['provider'] = {},
): ServiceDefinition => ({
  service: 'iotflow',
  custom: {
    topicRoot: 'iotflow-dev',
    clientIds: 'iotflow-dev-*',
    usedDomainConfiguration: 'iotflow-dev',
  },
  provider,
  functions: Object.fromEntries(
    Object.keys(contents).map((name) => [
      name,
      { name: `iotflow-dev-${name}`, ...more[name as keyof typeof contents] },
    ]),
  ),
})

const rolesOf = (service: ServiceDefinition) => {
  addLogGroups(service, 'dev')
  addRoles(service, 'dev', contents)
  const roles = service.resources?.Resources as Record<string, Role>
  return (name: string) => {
    const role = roles[String(service.functions[name]?.role)]
    const statements = role?.Properties.Policies[0].PolicyDocument.Statement ?? []
    return { role, statements, actions: statements.flatMap(({ Action }) => Action) }
  }
}

const arn = (service: string, rest: string) => ({
  'Fn::Sub': `arn:\${AWS::Partition}:${service}:\${AWS::Region}:\${AWS::AccountId}:${rest}`,
})

it('are shared by functions with equal rights, whose logs they may write', () => {
  const service = serviceOf()
  const roleOf = rolesOf(service)
  const { functions, resources } = service
  expect(functions.read?.role).toBe(functions.list?.role)
  expect(Object.keys(resources?.Resources ?? {}).filter((id) => id.startsWith('Role'))).toEqual([
    'RoleForDatabaseLimitsAdmin',
    'RoleForDatabaseCommands',
    'RoleForLogs',
  ])
  const group = (name: string) => arn('logs', `log-group:/aws/lambda/iotflow-dev-${name}:*`)
  expect(roleOf('read').statements.at(-1)?.Resource).toEqual([group('read'), group('list')])
  expect(roleOf('page').statements).toEqual([
    { Effect: 'Allow', Action: ['logs:CreateLogStream', 'logs:PutLogEvents'], Resource: [group('page')] },
  ])
})

it('come with the names of the secrets, and withhold addresses whose secret is not needed', () => {
  const service = serviceOf({ read: { environment: { OWN: 'kept' } } })
  const roleOf = rolesOf(service)
  expect(service.functions.read?.environment).toEqual({
    OWN: 'kept',
    INFLUXDB_URL: '',
    SECRETS: 'ADMIN_TOKEN,DATABASE_AUTH_TOKEN,UPSTASH_REDIS_REST_TOKEN',
  })
  expect(service.functions.page?.environment).toEqual({
    INFLUXDB_URL: '',
    UPSTASH_REDIS_REST_URL: '',
    SECRETS: '',
  })
  expect(roleOf('send').statements[0]).toEqual({
    Effect: 'Allow',
    Action: ['ssm:GetParameters'],
    Resource: [arn('ssm', 'parameter/iotflow/dev/DATABASE_AUTH_TOKEN')],
  })
})

it('name topics below the root of the stage', () => {
  const roleOf = rolesOf(serviceOf())
  expect(roleOf('send').statements[1]?.Resource).toEqual([
    arn('iot', 'topic/iotflow-dev/devices/*/commands'),
    arn('iot', 'topic/iotflow-dev/devices/*/commands/*'),
  ])
})

it('have the rights that queues, destinations, tracing and a VPC need', () => {
  const queue = { 'Fn::GetAtt': ['Queue', 'Arn'] }
  const service = serviceOf({
    send: {
      events: [{ sqs: { arn: queue } }, { schedule: 'rate(1 minute)' }],
      destinations: { onFailure: { type: 'sqs', arn: queue } },
    },
    list: { tracing: 'Active', vpc: {} },
  })
  const roleOf = rolesOf(service)
  expect(roleOf('send').actions).toEqual(
    expect.arrayContaining([
      'sqs:ReceiveMessage',
      'sqs:DeleteMessage',
      'sqs:GetQueueAttributes',
      'sqs:SendMessage',
    ]),
  )
  expect(roleOf('list').actions).toContain('xray:PutTraceSegments')
  expect(roleOf('list').role?.Properties.ManagedPolicyArns).toHaveLength(1)
  expect(service.functions.list?.role).not.toBe(service.functions.read?.role)
  expect(roleOf('read').actions.filter((action) => /^(?:sqs|xray)/.test(action))).toEqual([])
  const traced = rolesOf(serviceOf({}, { tracing: { lambda: true } }))
  expect(traced('page').actions).toContain('xray:PutTelemetryRecords')
})

it('are not made for a function without a bundle, or beside rights in serverless.yml', () => {
  const unbuilt = { ...serviceOf().functions, other: { name: 'iotflow-dev-other' } }
  expect(() => addRoles({ ...serviceOf(), functions: unbuilt }, 'dev', contents)).toThrow(
    'other has no bundle: run npm run build.',
  )
  const withRights = serviceOf({}, { iam: { role: { statements: [] } } })
  expect(() => addRoles(withRights, 'dev', contents)).toThrow('cloud/plugin/rights.ts')
})

it('let the API call its functions and no others', () => {
  const uri = { 'Fn::GetAtt': ['ReadLambdaFunction', 'Arn'] }
  const permission = (Principal: string) => ({ Type: 'AWS::Lambda::Permission', Properties: { Principal } })
  const resources: Parameters<typeof callFunctionsByRole>[0] = {
    ReadIntegration: { Type: 'AWS::ApiGatewayV2::Integration', Properties: { IntegrationUri: uri } },
    ReadPermission: permission('apigateway.amazonaws.com'),
    RulePermission: permission('iot.amazonaws.com'),
  }
  callFunctionsByRole(resources)
  expect(Object.keys(resources)).toEqual(['ReadIntegration', 'RulePermission', 'HttpApiRole'])
  const credentials = { 'Fn::GetAtt': ['HttpApiRole', 'Arn'] }
  expect(resources.ReadIntegration?.Properties).toEqual({ IntegrationUri: uri, CredentialsArn: credentials })
  const { Statement } = resources.HttpApiRole?.Properties.Policies[0].PolicyDocument ?? {}
  expect(Statement).toEqual([{ Effect: 'Allow', Action: ['lambda:InvokeFunction'], Resource: [uri] }])
})
