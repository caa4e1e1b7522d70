import { readdir, readFile, stat } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { parse } from 'yaml'
import { coldGoal, hasAwsClient } from '../../benchmarks/cold.ts'
import { loadFunctions } from '../../local/functions.ts'
import { rootVariable } from '../../local/mqtt/rules.ts'
import { type CloudContents, contentsFile } from '../../scripts/build.ts'
import { countingFunctions } from '../../scripts/bundles.ts'
import { stages } from '../deploy/setup.ts'
import { logicalId, readTemplate } from '../deploy/template.ts'
import { startGateway, startLambda } from '../support/lambda.ts'
import type { Resource } from '../support/serverless.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

interface Statement {
  readonly Action: readonly string[]
  readonly Resource: string | readonly (string | { readonly 'Fn::Sub'?: string })[]
}

const functions = await loadFunctions()
const { functions: definitions } = parse(await readFile(`${root}serverless.yml`, 'utf8')) as {
  functions: Record<string, { events?: Record<string, unknown>[]; destinations?: object }>
}

/** They publish, end connections, or ask the broker whether it answers; the client is 300 KB, which a cold start loads. */
const withIotClient = [
  'admin-configure',
  'admin-dashboard',
  'admin-delete',
  'admin-fleet-configure',
  'admin-import',
  'admin-mqtt-publish',
  'admin-revoke-key',
  'admin-rotate-key',
  'admin-set-status',
  'admin-update',
  'commands-create',
  'commands-deliver',
  'commands-fleet-advance',
  'commands-fleet-cancel',
  'commands-fleet-send',
  'commands-fleet-send-by-type',
  'commands-sweep',
  'devices-configure',
  'devices-rotate-key',
  'devices-sweep',
  'mqtt-presence',
  'mqtt-publish-configurations',
  'mqtt-status',
  'system-not-found',
]

/** Texts that stand in a bundle whose code calls AWS, with the rights for it. */
const callsOf: Readonly<Record<string, readonly string[]>> = {
  '.expiresInS': ['iot:Publish'],
  'preventWillMessage:!0': ['iot:DeleteConnection'],
  'maxResults:1}': ['iot:ListRetainedMessages'],
  'AmazonSQS.SendMessage': ['sqs:SendMessage'],
  'AmazonSQS.GetQueueAttributes': ['sqs:GetQueueAttributes'],
  '/domainConfigurations/': ['iot:DescribeDomainConfiguration'],
}

const contents = JSON.parse(await readFile(contentsFile, 'utf8')) as CloudContents

/** The template of a stage that the setup has packaged, and its zips. */
const readPackage = async (stage: string) => {
  const folder = `${inject('packages')}/${stage}`
  const { Resources: resources } = await readTemplate(folder)
  const files = (await readdir(folder)).filter((file) => file.endsWith('.zip'))
  const zips = new Map(
    await Promise.all(
      files.map(async (file) => [file.slice(0, -4), (await stat(`${folder}/${file}`)).size] as const),
    ),
  )
  const contents = await Promise.all(files.map((file) => readFile(`${folder}/${file}`)))
  // A zip names its files in clear.
  const withViewer = files.filter((_, at) => contents[at]?.includes('/swagger-ui-bundle.js'))
  return { resources, zips, withViewer: withViewer.map((file) => file.slice(0, -4)).sort() }
}

/** The code of a bundle, that which is loaded later too. */
const codeOf = async (name: string) => {
  const files = contents[name]?.files ?? []
  return (await Promise.all(files.map((file) => readFile(`${root}dist/cloud/${file}`, 'utf8')))).join('\n')
}

it('keeps every bundle below the size that a cold start may load', () => {
  const over = Object.entries(contents)
    .filter(([, bundle]) => bundle.bytes > coldGoal(hasAwsClient(bundle)).bytes)
    .map(([name, { bytes }]) => `${name}: ${Math.round(bytes / 1024)} KB`)
  expect(over).toEqual([])
})

it('has the OpenAPI document only in the bundles that serve it, and no native module in any bundle', async () => {
  const [documented, native]: string[][] = [[], []]
  for (const name of functions.names) {
    const bundle = await codeOf(name)
    if (bundle.includes('jsonSchemaDialect') || /openapi["']?:\s*["']3\.1/.test(bundle))
      documented?.push(name)
    if (/(?:\bfrom|\bimport|\brequire)\s*\(?\s*["'](?:libsql|@libsql\/[\w-]+)["']|\.node["'`]/.test(bundle))
      native?.push(name)
  }
  // The last one answers every address whose spelling the gateway does not recognise.
  expect([documented, native]).toEqual([['system-openapi', 'system-not-found'], []])
})

it('has the library that writes metrics only in the bundles of functions that count', async () => {
  const bundles = await Promise.all(functions.names.map(codeOf))
  const counting = functions.names.filter((_, at) => bundles[at]?.includes('CloudWatchMetrics'))
  expect(counting.sort()).toEqual([...countingFunctions].sort())
})

it('has the client of AWS IoT only in the bundles that publish, end connections, or ask the broker', async () => {
  const found: string[] = []
  for (const name of functions.names) if ((await codeOf(name)).includes('/topics/{topic}')) found.push(name)
  expect(found.sort()).toEqual(withIotClient)
})

it('reads no secret for an address that no function has, and those of the stage for one that a function has', async () => {
  const asked: string[] = []
  const store = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    asked.push(body)
    response.end('{"Parameters":[]}')
  })
  await new Promise<void>((resolve) => store.listen(0, '127.0.0.1', resolve))
  const lambda = startLambda(new URL('dist/cloud/', `file://${root}`), {
    AWS_ENDPOINT_URL: `http://127.0.0.1:${(store.address() as AddressInfo).port}/`,
    SECRETS_PATH: '/iotflow/dev',
    SECRETS: 'ADMIN_TOKEN,UPSTASH_REDIS_REST_TOKEN',
    STAGE: 'dev',
    DATABASE_URL: 'https://127.0.0.1:9',
    // Without its token this is an error of the settings, once they are read.
    UPSTASH_REDIS_REST_URL: 'https://upstash.example.com',
    LOG_LEVEL: 'silent',
  })
  const gateway = await startGateway(functions, lambda)
  try {
    expect((await fetch(`${gateway.url}/wp-login.php`)).status).toBe(404)
    expect(asked).toEqual([])
    expect((await fetch(`${gateway.url}/docs`, { method: 'HEAD' })).status).toBe(200)
    expect(asked).toHaveLength(1)
  } finally {
    await gateway.close()
    await lambda.close()
    store.closeAllConnections()
    store.close()
  }
}, 120_000)

it('allows browser calls from the origins in CORS_ORIGINS, and from no others', async () => {
  const [dev, prod] = await Promise.all(['dev', 'prod'].map(readPackage))
  const cors = dev?.resources.HttpApi?.Properties.CorsConfiguration
  expect(cors).toMatchObject({
    AllowOrigins: ['https://a.example', 'http://localhost:3000'],
    AllowMethods: ['GET', 'POST', 'PUT', 'DELETE'],
    AllowHeaders: expect.arrayContaining(['X-API-Key', 'If-None-Match', 'Prefer']),
    ExposeHeaders: expect.arrayContaining(['X-Request-Id', 'RateLimit-Reset', 'Preference-Applied']),
  })
  expect(cors).not.toHaveProperty('AllowCredentials')
  expect(prod?.resources.HttpApi?.Properties).not.toHaveProperty('CorsConfiguration')
})

describe.each(stages)('the package of stage %s', (stage) => {
  let resources: Record<string, Resource>
  let zips: Map<string, number>
  let withViewer: string[]

  beforeAll(async () => {
    const packaged = await readPackage(stage)
    resources = packaged.resources
    zips = packaged.zips
    withViewer = packaged.withViewer
  })

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
      return `  ${name.padEnd(28)} ${kb(contents[name]?.bytes)} KB ${kb(zips.get(name))} KB zipped`
    })
    process.stdout.write(`\nStage ${stage}: ${count} resources of 500\n${table.join('\n')}\n`)
    expect(ofType('AWS::Lambda::Function')).toHaveLength(functions.names.length)
    expect(zips.size).toBe(functions.names.length)
    // Alarms, a dashboard and further functions have room, and 50 resources remain free.
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

  it('has every rule of iot-rules with the same SQL and its function', async () => {
    const rules = ofType('AWS::IoT::TopicRule').map(({ Properties }) => Properties)
    const files = (await readdir(`${root}iot-rules`)).filter((file) => file.endsWith('.yml'))
    // Two more rules put telemetry into the queue, unless INGEST_MODE is `direct`.
    expect(rules).toHaveLength(files.length + 2)
    for (const file of files) {
      const rule = parse(await readFile(`${root}iot-rules/${file}`, 'utf8')) as Record<string, string>
      const packaged = rules.find(({ RuleName }) => RuleName === `iotflow_${stage}_${rule.name}`)
      expect(packaged?.TopicRulePayload, file).toMatchObject({
        Sql: rule.sql?.replaceAll(rootVariable, stage === 'prod' ? 'iotflow' : `iotflow-${stage}`),
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
    expect(resources.TelemetryDashingestLambdaEvConf?.Properties).toMatchObject({
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
    const { MessageRetentionPeriod, VisibilityTimeout, RedrivePolicy, ...rest } =
      resources.SpoolQueue?.Properties ?? {}
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

  it('gives each function the rights that its bundle uses, and no others', async () => {
    for (const name of functions.names) {
      const { Role, Environment } = resources[`${logicalId(name)}LambdaFunction`]?.Properties ?? {}
      const [policy] = resources[Role['Fn::GetAtt'][0]]?.Properties.Policies ?? []
      const statements: Statement[] = policy.PolicyDocument.Statement
      const bundle = await codeOf(name)
      const fromQueue = definitions[name]?.events?.some(({ sqs }) => sqs !== undefined) ?? false
      const used = [
        'logs:CreateLogStream',
        'logs:PutLogEvents',
        ...(Environment.Variables.SECRETS === '' ? [] : ['ssm:GetParameters']),
        ...Object.entries(callsOf).flatMap(([call, actions]) => (bundle.includes(call) ? actions : [])),
        // Lambda puts an event that failed for good into a queue.
        ...(definitions[name]?.destinations === undefined ? [] : ['sqs:SendMessage']),
        ...(fromQueue ? ['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes'] : []),
      ]
      const allowed = statements.flatMap(({ Action }) => Action)
      // Only retained messages need the second one.
      const without = allowed.filter((action) => action !== 'iot:RetainPublish')
      expect([...new Set(without)].sort(), name).toEqual([...new Set(used)].sort())

      const arn = (service: string) => `arn:\${AWS::Partition}:${service}:\${AWS::Region}:\${AWS::AccountId}:`
      const of = (action: string) =>
        statements
          .filter(({ Action }) => Action.includes(action))
          .flatMap(({ Resource: found }) => found)
          .map((one) => (typeof one === 'string' ? one : one['Fn::Sub']))
      const secrets = (Environment.Variables.SECRETS as string).split(',').filter((one) => one !== '')
      expect(of('ssm:GetParameters'), name).toEqual(
        secrets.map((secret) => `${arn('ssm')}parameter/iotflow/${stage}/${secret}`),
      )
      const group = (of: string) => `${arn('logs')}log-group:/aws/lambda/iotflow-${stage}-${of}:*`
      const sharing = functions.names.filter(
        (other) =>
          resources[`${logicalId(other)}LambdaFunction`]?.Properties.Role['Fn::GetAtt'][0] ===
          Role['Fn::GetAtt'][0],
      )
      const areas = new Set(sharing.map((other) => other.replace(/-.*/, '')))
      expect(of('logs:PutLogEvents').sort(), name).toEqual([...areas].map(group).sort())
    }
  })

  it('contains no secret, only the path of the secrets', () => {
    for (const { Properties } of ofType('AWS::Lambda::Function')) {
      const { Variables } = Properties.Environment
      expect(Variables.SECRETS_PATH).toBe(`/iotflow/${stage}`)
      expect(Object.keys(Variables).filter((name) => /(?:TOKEN|KEY|SECRET|PASSWORD)$/.test(name))).toEqual([])
    }
  })
})
