import { execFile } from 'node:child_process'
import { readdir, readFile, stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { clientIdPatterns, deviceTopics } from '../../lib/mqtt/topics.ts'
import { secretSettings } from '../../lib/secrets.ts'
import { buildCloud } from '../../local/build.ts'
import { loadFunctions } from '../../local/functions.ts'
import { temporaryFolder } from '../support/temporary.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const run = promisify(execFile)

interface Resource {
  readonly Type: string
  // biome-ignore lint/suspicious/noExplicitAny: CloudFormation describes each type elsewhere.
  readonly Properties: any
}

const functions = await loadFunctions()
let sizes: ReadonlyMap<string, number>
beforeAll(async () => {
  sizes = await buildCloud()
}, 60_000)

/** `DevicesDashregister`: the name of a function in the template. */
const logicalId = (name: string) => name.replace(/^./, (first) => first.toUpperCase()).replaceAll('-', 'Dash')

/** Packages a stage, with nothing of AWS: no credentials and no region. */
const packageStage = async (stage: string, settings: Record<string, string> = {}) => {
  const folder = await temporaryFolder()
  await run(
    process.execPath,
    ['node_modules/serverless/bin/serverless.js', 'package', '--stage', stage, '--package', folder.path],
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
  await folder.remove()
  return { resources, zips }
}

it('has the document of the API in the bundles that serve it only, and in none a native module', async () => {
  const [documented, native]: string[][] = [[], []]
  for (const name of functions.names) {
    const bundle = await readFile(`${root}dist/cloud/${name}.mjs`, 'utf8')
    if (bundle.includes('jsonSchemaDialect') || /openapi["']?:\s*["']3\.1/.test(bundle))
      documented?.push(name)
    if (/(?:\bfrom|\bimport|\brequire)\s*\(?\s*["'](?:libsql|@libsql\/[\w-]+)["']|\.node["'`]/.test(bundle))
      native?.push(name)
  }
  expect([documented, native]).toEqual([['system-openapi', 'system-docs'], []])
})

it('lets applications in a browser in from CORS_ORIGINS', async () => {
  const CORS_ORIGINS = 'https://a.example, http://localhost:3000'
  const { resources } = await packageStage('dev', { CORS_ORIGINS })
  expect(resources.HttpApi?.Properties.CorsConfiguration).toMatchObject({
    AllowOrigins: ['https://a.example', 'http://localhost:3000'],
    AllowMethods: ['GET', 'POST', 'PUT', 'DELETE'],
    AllowHeaders: expect.arrayContaining(['X-API-Key', 'If-None-Match']),
    ExposeHeaders: expect.arrayContaining(['X-Request-Id', 'RateLimit-Reset']),
  })
  expect(resources.HttpApi?.Properties.CorsConfiguration).not.toHaveProperty('AllowCredentials')
}, 90_000)

describe.each(['dev', 'staging', 'prod'])('the package of stage %s', (stage) => {
  let resources: Record<string, Resource>
  let zips: Map<string, number>

  beforeAll(async () => {
    const packaged = await packageStage(stage)
    resources = packaged.resources
    zips = packaged.zips
  }, 90_000)

  const ofType = (type: string) => Object.values(resources).filter((resource) => resource.Type === type)

  it('has every function with its own bundle, and stays far below the 500 resources of a stack', () => {
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
    expect(count).toBeLessThan(400)
  })

  it('has every route, and one that takes the rest', () => {
    const keys = ofType('AWS::ApiGatewayV2::Route').map(({ Properties }) => Properties.RouteKey as string)
    const wanted = functions.routes.map(
      ({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`,
    )
    expect(keys.sort()).toEqual([...wanted, '$default'].sort())
  })

  it('lets no application in a browser in by itself', () => {
    expect(resources.HttpApi?.Properties).not.toHaveProperty('CorsConfiguration')
  })

  it('has every rule of iot-rules, word for word, with its function', async () => {
    const rules = ofType('AWS::IoT::TopicRule').map(({ Properties }) => Properties)
    const files = (await readdir(`${root}iot-rules`)).filter((file) => file.endsWith('.yml'))
    // And the one that puts telemetry into the queue instead, where the stage asks for it.
    expect(rules).toHaveLength(files.length + 1)
    for (const file of files) {
      const rule = parse(await readFile(`${root}iot-rules/${file}`, 'utf8')) as Record<string, string>
      const packaged = rules.find(({ RuleName }) => RuleName === `iotflow_${stage}_${rule.name}`)
      expect(packaged?.TopicRulePayload, file).toMatchObject({
        Sql: rule.sql,
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

  it('loses no telemetry: what fails goes into the queue, which the same function empties', () => {
    const queue = { 'Fn::GetAtt': ['SpoolQueue', 'Arn'] }
    const toQueue = { Sqs: { QueueUrl: { Ref: 'SpoolQueue' }, UseBase64: false } }
    const ruleOf = (name: string) =>
      ofType('AWS::IoT::TopicRule').find(
        ({ Properties }) => Properties.RuleName === `iotflow_${stage}_${name}`,
      )?.Properties.TopicRulePayload
    const direct = ruleOf('telemetry_ingest')
    expect(direct).toMatchObject({ RuleDisabled: false, ErrorAction: toQueue })
    expect(ruleOf('telemetry_queue')).toMatchObject({
      RuleDisabled: true,
      Sql: direct.Sql,
      Actions: [toQueue],
    })
    expect(ofType('AWS::Lambda::EventInvokeConfig')[0]?.Properties).toMatchObject({
      FunctionName: { Ref: 'TelemetryDashingestLambdaFunction' },
      DestinationConfig: { OnFailure: { Destination: queue } },
    })
    expect(ofType('AWS::Lambda::EventSourceMapping')[0]?.Properties).toMatchObject({
      EventSourceArn: queue,
      FunctionResponseTypes: ['ReportBatchItemFailures'],
    })
  })

  it('tries what waits in the queue again for as long as SQS keeps it, soon after each failure', () => {
    const queues = ofType('AWS::SQS::Queue').map(({ Properties }) => Properties)
    expect(queues).toHaveLength(1)
    const { MessageRetentionPeriod, VisibilityTimeout, RedrivePolicy, ...rest } = queues[0]
    expect(MessageRetentionPeriod).toBe(14 * 86_400)
    expect(rest).toMatchObject({ SqsManagedSseEnabled: true })
    const receives = RedrivePolicy?.maxReceiveCount ?? Number.POSITIVE_INFINITY
    expect(VisibilityTimeout * receives).toBeGreaterThanOrEqual(MessageRetentionPeriod)
    // AWS wants six times the time of the function.
    const { Timeout } = resources.TelemetryDashingestLambdaFunction?.Properties ?? {}
    expect(VisibilityTimeout).toBeGreaterThanOrEqual(6 * Timeout)
    expect(VisibilityTimeout).toBeLessThanOrEqual(120)
  })

  it('lets AWS IoT Core ask the authorizer, and nobody else', () => {
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

  it('allows the functions what they do, and nothing beside it', () => {
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
    const { configSubscribe, statusOnline, statusOffline, statusHeartbeat } = deviceTopics(7)
    const topics = [configSubscribe, statusOnline, statusOffline, statusHeartbeat]
    const published = topics.map((topic) => `${arn('iot')}topic/${topic.replace('/7/', '/*/')}`)
    expect(allowed('iot:Publish')).toEqual(published)
    expect(allowed('iot:RetainPublish')).toEqual(published)
    const clients = allowed('iot:DeleteConnection').map((of) => of.slice(`${arn('iot')}client/`.length))
    expect(clients).toEqual(
      ['iotflow-device-*', 'device_*', ...'123456789'].map((id) => id.replace(/^\d$/, '$&*')),
    )
    for (const id of [1, 20, 999_999_999_999_999].flatMap(clientIdPatterns))
      expect(
        clients.some((pattern) => id.startsWith(pattern.slice(0, -1))),
        id,
      ).toBe(true)
    expect(statements.flatMap(({ Action }) => Action).filter((action) => /\*/.test(action))).toEqual([])
    expect(
      statements.filter(({ Resource: of }) => [of].flat().includes('*')).flatMap(({ Action }) => Action),
    ).toEqual(['iot:ListRetainedMessages'])
  })

  it('carries no secret, only where the secrets are', () => {
    for (const { Properties } of ofType('AWS::Lambda::Function')) {
      const { Variables } = Properties.Environment
      expect(Variables.SECRETS_PATH).toBe(`/iotflow/${stage}`)
      expect(Object.keys(Variables).filter((name) => /(?:TOKEN|KEY|SECRET|PASSWORD)$/.test(name))).toEqual([])
    }
  })
})
