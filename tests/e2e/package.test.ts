import { execFile } from 'node:child_process'
import { readdir, readFile, stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { secretSettings } from '../../lib/lambda/secrets.ts'
import { awsTopicMatcher, TopicTree } from '../../lib/mqtt/topics.ts'
import { loadFunctions } from '../../local/functions.ts'
import { parseRule, rootVariable } from '../../local/mqtt/rules.ts'
import { buildCloud } from '../../scripts/build.ts'
import { rulesOfDeviceTopics, rulesOfOtherTopics } from '../support/rule-topics.ts'
import { temporaryFolder } from '../support/temporary.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
/** For one package on a busy machine. */
const packagingMs = 300_000
const run = promisify(execFile)

interface Resource {
  readonly Type: string
  // biome-ignore lint/suspicious/noExplicitAny: the shape of each type is defined by CloudFormation.
  readonly Properties: any
}

const functions = await loadFunctions()
let sizes: ReadonlyMap<string, number>
beforeAll(async () => {
  sizes = await buildCloud()
}, 300_000)

/** The name of a function in the template: `DevicesDashregister`. */
const logicalId = (name: string) => name.replace(/^./, (first) => first.toUpperCase()).replaceAll('-', 'Dash')

const packages = new Map<string, ReturnType<typeof packageOf>>()

/** Packages a stage without AWS credentials and without a region; the same package again is not made again. */
const packageStage = (...what: Parameters<typeof packageOf>): ReturnType<typeof packageOf> => {
  const key = JSON.stringify(what)
  const made = packages.get(key) ?? packageOf(...what)
  packages.set(key, made)
  return made
}

const packageOf = async (
  stage: string,
  settings: Record<string, string> = {},
  parameters: readonly string[] = [],
) => {
  const folder = await temporaryFolder()
  await run(
    process.execPath,
    [
      'node_modules/serverless/bin/serverless.js',
      'package',
      '--stage',
      stage,
      '--package',
      folder.path,
      ...parameters,
    ],
    {
      cwd: root,
      env: {
        PATH: process.env.PATH,
        HOME: folder.path,
        SLS_TELEMETRY_DISABLED: '1',
        SLS_NOTIFICATIONS_MODE: 'off',
        ...settings,
      },
    },
  )
  const template = await readFile(`${folder.path}/cloudformation-template-update-stack.json`, 'utf8')
  const { Resources: resources } = JSON.parse(template) as { Resources: Record<string, Resource> }
  const files = (await readdir(folder.path)).filter((file) => file.endsWith('.zip'))
  const zips = new Map(
    await Promise.all(
      files.map(async (file) => [file.slice(0, -4), (await stat(`${folder.path}/${file}`)).size] as const),
    ),
  )
  const contents = await Promise.all(files.map((file) => readFile(`${folder.path}/${file}`)))
  // A zip names its files in clear.
  const withViewer = files.filter((_, at) => contents[at]?.includes('/swagger-ui-bundle.js'))
  await folder.remove()
  return { resources, zips, withViewer: withViewer.map((file) => file.slice(0, -4)).sort() }
}

it('has the OpenAPI document only in the bundles that serve it, and no native module in any bundle', async () => {
  const [documented, native]: string[][] = [[], []]
  for (const name of functions.names) {
    const bundle = await readFile(`${root}dist/cloud/${name}.mjs`, 'utf8')
    if (bundle.includes('jsonSchemaDialect') || /openapi["']?:\s*["']3\.1/.test(bundle))
      documented?.push(name)
    if (/(?:\bfrom|\bimport|\brequire)\s*\(?\s*["'](?:libsql|@libsql\/[\w-]+)["']|\.node["'`]/.test(bundle))
      native?.push(name)
  }
  // The last one answers every address whose spelling the gateway does not recognise.
  expect([documented, native]).toEqual([['system-openapi', 'system-not-found'], []])
})

const certificate = 'arn:aws:acm:eu-central-1:123456789012:certificate/0af1'
/** A stage with settings and parameters of its own. */
const packageAcme = () =>
  packageStage('dev', { TOPIC_ROOT: 'acme-dev', CORS_ORIGINS: 'https://a.example, http://localhost:3000' }, [
    '--param=mqttDomain=mqtt.example.com',
    `--param=mqttCertificate=${certificate}`,
  ])

it(
  'allows browser calls from the origins in CORS_ORIGINS',
  async () => {
    const { resources } = await packageAcme()
    expect(resources.HttpApi?.Properties.CorsConfiguration).toMatchObject({
      AllowOrigins: ['https://a.example', 'http://localhost:3000'],
      AllowMethods: ['GET', 'POST', 'PUT', 'DELETE'],
      AllowHeaders: expect.arrayContaining(['X-API-Key', 'If-None-Match']),
      ExposeHeaders: expect.arrayContaining(['X-Request-Id', 'RateLimit-Reset']),
    })
    expect(resources.HttpApi?.Properties.CorsConfiguration).not.toHaveProperty('AllowCredentials')
  },
  packagingMs,
)

const rootOf = (stage: string) => (stage === 'prod' ? 'iotflow' : `iotflow-${stage}`)

/** What a stage names in the account: topics, rules, client ids, resources. */
const namesOf = (resources: Record<string, Resource>): string[] => {
  const all = Object.values(resources)
  const ofType = (type: string) =>
    all.filter((resource) => resource.Type === type).map((one) => one.Properties)
  const arns = JSON.stringify(all).match(/:iot:[^"]*:(?:topic|client|domainconfiguration)\/[^"]+/g) ?? []
  const rules = ofType('AWS::IoT::TopicRule')
  return [
    ...rules.map(({ RuleName }) => RuleName),
    ...rules
      .map(({ TopicRulePayload: { Sql } }) => parseRule(Sql).filter)
      .filter((filter) => !filter.startsWith('$')),
    ...arns.map((arn) => arn.replace(/^.*:(?=\w+\/)/, '')),
    ...ofType('AWS::IoT::Authorizer').map(({ AuthorizerName }) => AuthorizerName),
    ...ofType('AWS::IoT::DomainConfiguration').map((one) => one.DomainConfigurationName),
    ...ofType('AWS::Lambda::Function').map(({ FunctionName }) => FunctionName),
    ...ofType('AWS::Logs::LogGroup').map(({ LogGroupName }) => LogGroupName),
    ...ofType('AWS::SQS::Queue').flatMap(({ QueueName }) => QueueName ?? []),
  ]
}

it(
  'names nothing in one stage that another stage of the account names, too',
  async () => {
    const stages = ['dev', 'staging', 'prod']
    const names = new Map<string, Set<string>>()
    for (const stage of stages) names.set(stage, new Set(namesOf((await packageStage(stage)).resources)))
    for (const [stage, own] of names) {
      expect(own.size, stage).toBeGreaterThan(50)
      const others = [...names].filter(([other]) => other !== stage).flatMap(([, set]) => [...set])
      expect([...own].filter((name) => others.includes(name))).toEqual([])
    }
    // Prod has the client ids that begin otherwise: the authorizer and the ends of sessions see to that.
    const clients = [...names.values()].map((set) => [...set].filter((name) => name.startsWith('client/')))
    expect(clients).toEqual([['client/iotflow-dev-*'], ['client/iotflow-staging-*'], ['client/*']])
  },
  3 * packagingMs,
)

it(
  'has the root of topics that TOPIC_ROOT names, in rules, rights and functions',
  async () => {
    const { resources } = await packageAcme()
    const text = JSON.stringify(resources)
    expect(text).not.toMatch(/iotflow(?:-dev)?\/(?:devices|fleet)/)
    expect(text.match(/acme-dev\/devices/g)?.length).toBeGreaterThan(15)
    expect(text).toContain('client/acme-dev-*')
    expect(resources.SystemDashhealthLambdaFunction?.Properties.Environment.Variables.TOPIC_ROOT).toBe(
      'acme-dev',
    )
  },
  packagingMs,
)

it(
  'has a domain of its own for MQTT, where the parameters of the stage name one',
  async () => {
    const { resources } = await packageAcme()
    expect(resources.MqttDomain?.Properties).toMatchObject({
      DomainConfigurationName: 'iotflow-dev-mqtt.example.com',
      DomainName: 'mqtt.example.com',
      ServerCertificateArns: [certificate],
    })
    const { Variables } = resources.SystemDashhealthLambdaFunction?.Properties.Environment ?? {}
    expect(Variables.IOT_DOMAIN_CONFIGURATION).toBe('iotflow-dev-mqtt.example.com')
  },
  packagingMs,
)

describe.each(['dev', 'staging', 'prod'])('the package of stage %s', (stage) => {
  let resources: Record<string, Resource>
  let zips: Map<string, number>
  let withViewer: string[]

  beforeAll(async () => {
    const packaged = await packageStage(stage)
    resources = packaged.resources
    zips = packaged.zips
    withViewer = packaged.withViewer
  }, packagingMs)

  const ofType = (type: string) => Object.values(resources).filter((resource) => resource.Type === type)

  it('has one bundle for each function, and far fewer than the 500 resources that a stack may have', () => {
    const count = Object.keys(resources).length
    const table = functions.names.map((name) => {
      const properties = resources[`${logicalId(name)}LambdaFunction`]?.Properties
      expect(properties, name).toMatchObject({
        Handler: `dist/cloud/${name}.handler`,
        Runtime: 'nodejs24.x',
        Architectures: ['arm64'],
      })
      expect(zips.get(name), name).toBeGreaterThan(10_000)
      const kb = (bytes: number | undefined) => String(Math.round((bytes ?? 0) / 1024)).padStart(6)
      return `  ${name.padEnd(28)} ${kb(sizes.get(name))} KB ${kb(zips.get(name))} KB zipped`
    })
    process.stdout.write(`\nStage ${stage}: ${count} resources of 500\n${table.join('\n')}\n`)
    expect(ofType('AWS::Lambda::Function')).toHaveLength(functions.names.length)
    expect(zips.size).toBe(functions.names.length)
    expect(count).toBeLessThanOrEqual(450)
    expect(withViewer).toEqual(['system-docs-file', 'system-not-found'])
  })

  it('has every route, and a default route for all other requests', () => {
    const keys = ofType('AWS::ApiGatewayV2::Route').map(({ Properties }) => Properties.RouteKey as string)
    const wanted = functions.routes.map(
      ({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`,
    )
    expect(keys.sort()).toEqual([...wanted, '$default'].sort())
  })

  it('allows no browser calls by default', () => {
    expect(resources.HttpApi?.Properties).not.toHaveProperty('CorsConfiguration')
  })

  it('has every rule of iot-rules with the same SQL and its function', async () => {
    const rules = ofType('AWS::IoT::TopicRule').map(({ Properties }) => Properties)
    const files = (await readdir(`${root}iot-rules`)).filter((file) => file.endsWith('.yml'))
    // Two more rules put telemetry into the queue, unless INGEST_MODE is `direct`.
    expect(rules).toHaveLength(files.length + 2)
    for (const file of files) {
      const rule = parse(await readFile(`${root}iot-rules/${file}`, 'utf8')) as Record<string, string>
      const packaged = rules.find(({ RuleName }) => RuleName === `iotflow_${stage}_${rule.name}`)
      expect(packaged?.TopicRulePayload, file).toMatchObject({
        Sql: rule.sql?.replace(rootVariable, rootOf(stage)),
        AwsIotSqlVersion: rule.sqlVersion,
        Actions: [
          {
            Lambda: {
              FunctionArn: { 'Fn::GetAtt': [`${logicalId(rule.function ?? '')}LambdaFunction`, 'Arn'] },
            },
          },
        ],
      })
    }
  })

  it('hands each message of a device to one of its rules', () => {
    const rules = ofType('AWS::IoT::TopicRule')
      .map(({ Properties }) => Properties.TopicRulePayload)
      .filter(({ RuleDisabled }) => RuleDisabled !== true)
      .map(({ Sql }) => awsTopicMatcher(parseRule(Sql).filter))
    const topics = {
      ...rulesOfOtherTopics,
      ...Object.fromEntries(
        Object.entries(rulesOfDeviceTopics).map(([topic, names]) => [
          `${rootOf(stage)}/devices/7/${topic}`,
          names,
        ]),
      ),
    }
    for (const [topic, names] of Object.entries(topics))
      expect(rules.filter((matches) => matches(topic)).length, topic).toBe(names.length)
  })

  it('sends telemetry messages to the queue, which few containers of the ingest function empty in batches', () => {
    const queue = { 'Fn::GetAtt': ['SpoolQueue', 'Arn'] }
    const toQueue = { Sqs: { QueueUrl: { Ref: 'SpoolQueue' }, UseBase64: false } }
    const ruleOf = (name: string) =>
      ofType('AWS::IoT::TopicRule').find(
        ({ Properties }) => Properties.RuleName === `iotflow_${stage}_${name}`,
      )?.Properties.TopicRulePayload
    for (const which of ['', '_parent']) {
      const direct = ruleOf(`telemetry_ingest${which}`)
      expect(direct).toMatchObject({ RuleDisabled: true, ErrorAction: toQueue })
      expect(ruleOf(`telemetry_queue${which}`)).toMatchObject({
        RuleDisabled: false,
        Sql: direct.Sql,
        Actions: [toQueue],
      })
    }
    expect(ofType('AWS::Lambda::EventInvokeConfig')[0]?.Properties).toMatchObject({
      FunctionName: { Ref: 'TelemetryDashingestLambdaFunction' },
      DestinationConfig: { OnFailure: { Destination: queue } },
    })
    expect(ofType('AWS::Lambda::EventSourceMapping')[0]?.Properties).toMatchObject({
      EventSourceArn: queue,
      BatchSize: 100,
      MaximumBatchingWindowInSeconds: 1,
      ScalingConfig: { MaximumConcurrency: 5 },
      FunctionResponseTypes: ['ReportBatchItemFailures'],
    })
  })

  it('delivers messages of the queue again soon after a failure, as long as SQS keeps them', () => {
    const queues = ofType('AWS::SQS::Queue').map(({ Properties }) => Properties)
    expect(queues).toHaveLength(1)
    const { MessageRetentionPeriod, VisibilityTimeout, RedrivePolicy, ...rest } = queues[0]
    expect(MessageRetentionPeriod).toBe(14 * 86_400)
    expect(rest).toMatchObject({ SqsManagedSseEnabled: true })
    const receives = RedrivePolicy?.maxReceiveCount ?? Number.POSITIVE_INFINITY
    expect(VisibilityTimeout * receives).toBeGreaterThanOrEqual(MessageRetentionPeriod)
    // AWS recommends a visibility timeout of six times the timeout of the function.
    const { Timeout } = resources.TelemetryDashingestLambdaFunction?.Properties ?? {}
    expect(VisibilityTimeout).toBeGreaterThanOrEqual(6 * Timeout)
    expect(VisibilityTimeout).toBeLessThanOrEqual(120)
  })

  it('allows only AWS IoT Core to call the authorizer', () => {
    const authorizer = { 'Fn::GetAtt': ['MqttDashauthorizeLambdaFunction', 'Arn'] }
    expect(ofType('AWS::IoT::Authorizer')[0]?.Properties).toMatchObject({
      AuthorizerFunctionArn: authorizer,
      Status: 'ACTIVE',
    })
    const permissions = ofType('AWS::Lambda::Permission').filter(
      ({ Properties }) => JSON.stringify(Properties.FunctionName) === JSON.stringify(authorizer),
    )
    expect(permissions.map(({ Properties }) => Properties.Principal)).toEqual(['iot.amazonaws.com'])
  })

  it('has an address for devices that asks its authorizer, and where each port is one for MQTT', () => {
    const [own] = ofType('AWS::IoT::DomainConfiguration')
    expect(own?.Properties).toMatchObject({
      DomainConfigurationName: `iotflow-${stage}`,
      AuthenticationType: 'CUSTOM_AUTH',
      ApplicationProtocol: 'SECURE_MQTT',
      AuthorizerConfig: {
        DefaultAuthorizerName: { Ref: 'DeviceAuthorizer' },
        AllowAuthorizerOverride: false,
      },
    })
    expect(own).toMatchObject({ DeletionPolicy: 'Retain' })
    expect(resources.MqttDomain).toMatchObject({ Condition: 'HasMqttDomain' })
  })

  it('gives the functions only the rights that they need', () => {
    const [policy] = resources.IamRoleLambdaExecution?.Properties.Policies ?? []
    const statements: { Action: string | string[]; Resource: unknown }[] = policy.PolicyDocument.Statement
    const allowed = (action: string) =>
      statements
        .filter(({ Action }) => [Action].flat().includes(action))
        .flatMap(({ Resource: of }) => of)
        .map((of) => (of as { 'Fn::Sub': string })['Fn::Sub'] ?? of)
    const arn = (service: string) => `arn:\${AWS::Partition}:${service}:\${AWS::Region}:\${AWS::AccountId}:`

    expect(allowed('ssm:GetParameters')).toEqual(
      secretSettings.map((name) => `${arn('ssm')}parameter/iotflow/${stage}/${name}`),
    )
    const {
      commandsSubscribe,
      configSubscribe,
      statusPublish,
      statusOnline,
      statusOffline,
      statusHeartbeat,
    } = new TopicTree(rootOf(stage)).of(7)
    const topics = [configSubscribe, statusPublish, statusOnline, statusOffline, statusHeartbeat]
    const resourceOf = (topic: string) => `${arn('iot')}topic/${topic.replace('/7/', '/*/')}`
    const commands = [commandsSubscribe, `${commandsSubscribe}/*`]
    expect(allowed('iot:Publish')).toEqual([...topics, ...commands].map(resourceOf))
    expect(allowed('iot:RetainPublish')).toEqual(topics.map(resourceOf))
    expect(allowed('iot:DeleteConnection')).toEqual([
      `${arn('iot')}client/${stage === 'prod' ? '*' : `${rootOf(stage)}-*`}`,
    ])
    expect(allowed('iot:DescribeDomainConfiguration')).toEqual([
      `${arn('iot')}domainconfiguration/iotflow-${stage}/*`,
    ])
    expect(statements.flatMap(({ Action }) => Action).filter((action) => /\*/.test(action))).toEqual([])
    expect(
      statements.filter(({ Resource: of }) => [of].flat().includes('*')).flatMap(({ Action }) => Action),
    ).toEqual(['iot:ListRetainedMessages'])
  })

  it('contains no secret, only the path of the secrets', () => {
    for (const { Properties } of ofType('AWS::Lambda::Function')) {
      const { Variables } = Properties.Environment
      expect(Variables.SECRETS_PATH).toBe(`/iotflow/${stage}`)
      expect(Object.keys(Variables).filter((name) => /(?:TOKEN|KEY|SECRET|PASSWORD)$/.test(name))).toEqual([])
    }
  })
})
