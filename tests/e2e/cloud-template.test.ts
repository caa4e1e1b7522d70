/** What watches and limits a stage, in the template that CloudFormation gets. */
import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { countNames } from '../../lib/counts.ts'
import { metricNamespace, metricService } from '../../lib/lambda/metrics.ts'
import { type PackagedTemplate, packageTemplate, type Resource, serverless } from '../support/serverless.ts'

/** Metrics and their dimensions as the documentation of each service names them. */
const documented: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  // "Available CloudWatch metrics for Amazon SQS"
  'AWS/SQS': {
    ApproximateAgeOfOldestMessage: ['QueueName'],
    ApproximateNumberOfMessagesVisible: ['QueueName'],
  },
  // "Types of metrics for Lambda functions"; without a dimension: of all functions of the account
  'AWS/Lambda': {
    Errors: ['FunctionName'],
    Throttles: [],
    ConcurrentExecutions: [],
    AsyncEventsDropped: ['FunctionName'],
    DestinationDeliveryFailures: ['FunctionName'],
  },
  // "AWS IoT metrics and dimensions"
  'AWS/IoT': {
    Failure: ['RuleName', 'ActionType'],
    RuleMessageThrottled: ['RuleName'],
    ErrorActionFailure: ['RuleName', 'ActionType'],
    'Connect.Success': ['Protocol'],
    'Connect.AuthError': ['Protocol'],
    'Connect.ServerError': ['Protocol'],
    'Connect.Throttle': ['Protocol'],
    'Connect.ClientIDThrottle': ['Protocol'],
    'PublishIn.Success': ['Protocol'],
    'PublishOut.Success': ['Protocol'],
  },
  // "Monitor CloudWatch metrics for HTTP APIs"
  'AWS/ApiGateway': { '5xx': ['ApiId'], '4xx': ['ApiId'], Count: ['ApiId'], Latency: ['ApiId'] },
  [metricNamespace]: Object.fromEntries(countNames.map((name) => [name, ['service', 'stage']])),
}

interface Metric {
  readonly Namespace: string
  readonly MetricName: string
  readonly Dimensions?: readonly { readonly Name: string; readonly Value: unknown }[]
}

/** The metrics of an alarm, which has one, or an expression over several. */
const metricsOf = ({ Properties }: Resource): Metric[] =>
  Properties.Metrics?.flatMap(
    ({ MetricStat }: { MetricStat?: { Metric: Metric } }) => MetricStat?.Metric ?? [],
  ) ?? [Properties]

let prod: PackagedTemplate
let dev: PackagedTemplate
beforeAll(async () => {
  prod = await packageTemplate('prod', {
    alarmEmail: 'operator@example.com',
    monthlyBudgetUsd: '50',
    tracing: 'true',
    ingestConcurrency: '20',
    authorizerConcurrency: '30',
  })
  dev = await packageTemplate('dev')
}, 300_000)

const ofType = ({ resources }: PackagedTemplate, type: string) =>
  Object.entries(resources).filter(([, resource]) => resource.Type === type)
const alarmsOf = (template: PackagedTemplate) => ofType(template, 'AWS::CloudWatch::Alarm')

describe('the alarms', () => {
  it('look at metrics that exist, with the dimensions that these have', () => {
    const found = alarmsOf(prod).flatMap(([, alarm]) => metricsOf(alarm))
    expect(found.length).toBeGreaterThan(40)
    for (const { Namespace, MetricName, Dimensions = [] } of found)
      expect(Dimensions.map(({ Name }) => Name).sort(), `${Namespace} ${MetricName}`).toEqual(
        [...(documented[Namespace]?.[MetricName] ?? ['no such metric'])].sort(),
      )
  })

  it('look at 10 metrics at most, as CloudWatch allows, and tell the topic when they begin and end', () => {
    for (const [id, alarm] of alarmsOf(prod)) {
      expect(metricsOf(alarm).length, id).toBeLessThanOrEqual(10)
      expect(alarm.Properties, id).toMatchObject({
        AlarmActions: [{ Ref: 'AlarmTopic' }],
        OKActions: [{ Ref: 'AlarmTopic' }],
        TreatMissingData: 'notBreaching',
      })
    }
  })

  it('watch every function that devices or schedules call, every rule, and every queue', () => {
    const watched = JSON.stringify(alarmsOf(prod).map(([, alarm]) => metricsOf(alarm)))
    const called = [
      ...ofType(prod, 'AWS::IoT::TopicRule').map(([id]) => id),
      ...ofType(prod, 'AWS::Events::Rule').map(
        ([, { Properties }]) => Properties.Targets[0].Arn['Fn::GetAtt'][0],
      ),
      ...ofType(prod, 'AWS::Lambda::EventSourceMapping').map(
        ([, { Properties }]) => (Properties.FunctionName['Fn::GetAtt'] ?? [Properties.FunctionName.Ref])[0],
      ),
      'MqttDashauthorizeLambdaFunction',
    ]
    expect(called.length).toBeGreaterThan(15)
    expect(called.filter((id) => !watched.includes(`{"Ref":"${id}"}`))).toEqual([])
    const queues = ofType(prod, 'AWS::SQS::Queue').map(([id]) => id)
    expect(queues.filter((id) => !watched.includes(`["${id}","QueueName"]`))).toEqual([])
  })

  it('refer only to resources that the stack has', () => {
    const text = JSON.stringify(alarmsOf(prod))
    const references = [...text.matchAll(/"(?:Ref":|Fn::GetAtt":\[)"(\w+)"/g)].map(([, id]) => id as string)
    expect(references.filter((id) => prod.resources[id] === undefined)).toEqual([])
  })

  it('stand in docs/monitoring.md, each with what to do, and nothing else does', () => {
    const page = readFileSync('docs/monitoring.md', 'utf8')
      .split('\n## ')
      .find((part) => part.startsWith('In the cloud'))
    const rows = [...(page ?? '').matchAll(/^\| `([a-z-]+)`\s+\| (.+) \|$/gm)].map(([, name]) => name)
    const names = alarmsOf(prod).map(([, { Properties }]) =>
      Properties.AlarmName.replace('iotflow-prod-', '').replace(/-\d$/, ''),
    )
    expect(rows.sort()).toEqual([...new Set(names)].sort())
  })

  it('have an e-mail and a budget where the stage wants them', () => {
    expect(prod.resources.AlarmEmail?.Properties).toEqual({
      TopicArn: { Ref: 'AlarmTopic' },
      Protocol: 'email',
      Endpoint: 'operator@example.com',
    })
    expect(prod.resources.MonthlyBudget?.Properties.Budget.BudgetLimit).toEqual({ Amount: 50, Unit: 'USD' })
    expect(dev.resources).not.toHaveProperty('AlarmEmail')
    expect(dev.resources).not.toHaveProperty('MonthlyBudget')
  })
})

describe('the dashboard', () => {
  const widgets = () =>
    JSON.parse(prod.resources.Dashboard?.Properties.DashboardBody['Fn::Sub']).widgets as {
      properties: { metrics: unknown[][] }
    }[]

  it('shows metrics that exist, and all that the functions count', () => {
    const rows = widgets().flatMap(({ properties }) => properties.metrics)
    const shown = rows.filter((row): row is string[] => typeof row[0] === 'string')
    for (const [namespace = '', name = '', ...rest] of shown) {
      const names = rest.filter((part, at) => at % 2 === 0 && typeof part === 'string')
      expect([...names].sort(), `${namespace} ${name}`).toEqual(
        [...(documented[namespace]?.[name] ?? ['?'])].sort(),
      )
    }
    const own = shown.filter(([namespace]) => namespace === metricNamespace)
    expect(own.map(([, name]) => name).sort()).toEqual([...countNames].sort())
    for (const [, , ...dimensions] of own)
      expect(dimensions).toEqual(['service', metricService, 'stage', 'prod'])
  })

  it('searches functions and rules by names that they have', () => {
    const searches = [...JSON.stringify(widgets()).matchAll(/SEARCH\('\{[^}]+\} ([^']+)'/g)].map(
      ([, terms = '']) => terms.replace(/^MetricName=\\\\?"\w+\\\\?" /, ''),
    )
    // Two words, each a part of all these names; one in quotes would be the whole name.
    expect(searches).toEqual(searches.map(() => 'iotflow prod'))
    expect(searches.length).toBeGreaterThan(3)
    const names = ofType(prod, 'AWS::Lambda::Function').map(([, { Properties }]) => Properties.FunctionName)
    expect(names.filter((name) => !name.startsWith('iotflow-prod-'))).toEqual([])
    const rules = ofType(prod, 'AWS::IoT::TopicRule').map(([, { Properties }]) => Properties.RuleName)
    expect(rules.filter((name) => !name.startsWith('iotflow_prod_'))).toEqual([])
  })
})

describe('events that fail', () => {
  it('go into a queue, of every function that a rule calls', () => {
    const called = new Set(
      ofType(prod, 'AWS::IoT::TopicRule').flatMap(([, { Properties }]) =>
        Properties.TopicRulePayload.Actions.flatMap(
          ({ Lambda }: { Lambda?: { FunctionArn: { 'Fn::GetAtt': string[] } } }) =>
            Lambda?.FunctionArn['Fn::GetAtt'][0] ?? [],
        ),
      ),
    )
    const queueOf = new Map(
      ofType(prod, 'AWS::Lambda::EventInvokeConfig').map(([, { Properties }]) => [
        Properties.FunctionName.Ref,
        Properties.DestinationConfig.OnFailure?.Destination['Fn::GetAtt'][0],
      ]),
    )
    expect([...called].map((id) => [id, queueOf.get(id)]).sort()).toEqual([
      ['CommandsDashdeliverLambdaFunction', 'FailedEvents'],
      ['CommandsDashrecordDashanswerLambdaFunction', 'FailedEvents'],
      ['MqttDashpresenceLambdaFunction', 'FailedEvents'],
      ['MqttDashreportDashconfigurationLambdaFunction', 'FailedEvents'],
      ['TelemetryDashingestLambdaFunction', 'SpoolQueue'],
    ])
  })
})

describe('what holds data', () => {
  const kept = { DeletionPolicy: 'RetainExceptOnCreate', UpdateReplacePolicy: 'Retain' }

  it('stays when the stack is removed: queues everywhere, logs of prod', () => {
    // Its messages say nothing.
    for (const template of [prod, dev])
      for (const [id, queue] of ofType(template, 'AWS::SQS::Queue'))
        if (id !== 'WebhookQueue') expect(queue, id).toMatchObject(kept)
    const logs = ofType(prod, 'AWS::Logs::LogGroup')
    expect(logs.length).toBeGreaterThan(1)
    for (const [id, group] of logs) {
      expect(group, id).toMatchObject(kept)
      expect(group.Properties.RetentionInDays, id).toBe(30)
    }
    for (const [id, group] of ofType(dev, 'AWS::Logs::LogGroup'))
      expect(group.DeletionPolicy, id).toBeUndefined()
  })

  it('has the lines of every function in the log group of its area, which is there before the function', () => {
    const groups = new Map(
      ofType(prod, 'AWS::Logs::LogGroup').map(([id, { Properties }]) => [Properties.LogGroupName, id]),
    )
    const functions = ofType(prod, 'AWS::Lambda::Function')
    const used = functions.map(([id, { Properties, DependsOn }]) => {
      const { LogGroup } = Properties.LoggingConfig
      expect(Properties.FunctionName.startsWith(`${LogGroup.replace('/aws/lambda/', '')}-`), id).toBe(true)
      expect(DependsOn, id).toContain(groups.get(LogGroup))
      return LogGroup as string
    })
    const ofFunctions = [...groups.keys()].filter((name) => name.startsWith('/aws/lambda/'))
    expect([...new Set(used)].sort()).toEqual(ofFunctions.sort())
  })

  it('is read by another command than that of the framework, which looks for a group of the function', async () => {
    const reading = serverless(['logs', '--function', 'telemetry-ingest', '--stage', 'dev'])
    await expect(reading).rejects.toThrow(/docs\/monitoring\.md/)
  })

  it('is protected in prod by CloudFormation', () => {
    expect(prod.service.provider.deletionProtection).toEqual({ stages: ['prod'] })
  })
})

describe('the stage', () => {
  it('has names that no other stage of the account has', () => {
    const namesOf = ({ resources }: PackagedTemplate) =>
      Object.values(resources).flatMap(({ Properties = {} }) =>
        Object.entries(Properties as Record<string, unknown>)
          .filter(
            ([key, value]) =>
              /Name$/.test(key) && typeof value === 'string' && !['StageName', 'MetricName'].includes(key),
          )
          .map(([, value]) => value),
      )
    const others = new Set(namesOf(dev))
    expect(others.size).toBeGreaterThan(100)
    expect(namesOf(prod).filter((name) => others.has(name))).toEqual([])
  })

  it('has tags on the stack and on what Serverless can tag', () => {
    for (const [template, stage] of [
      [prod, 'prod'],
      [dev, 'dev'],
    ] as const) {
      expect(template.service.provider.stackTags).toEqual({ project: 'iotflow', stage })
      for (const [id, { Properties }] of ofType(template, 'AWS::Lambda::Function'))
        expect(Properties.Tags, id).toEqual([
          { Key: 'project', Value: 'iotflow' },
          { Key: 'stage', Value: stage },
        ])
    }
  })

  it('limits requests, and writes a line of JSON for each, without address, query and headers', () => {
    const { DefaultRouteSettings, AccessLogSettings } = prod.resources.HttpApiStage?.Properties ?? {}
    expect(DefaultRouteSettings).toMatchObject({ ThrottlingRateLimit: 1000, ThrottlingBurstLimit: 2000 })
    expect(dev.resources.HttpApiStage?.Properties.DefaultRouteSettings).toMatchObject({
      ThrottlingRateLimit: 200,
      ThrottlingBurstLimit: 400,
    })
    const format = JSON.parse(AccessLogSettings.Format) as Record<string, string>
    expect(Object.values(format).filter((value) => !/^\$context\.[\w.]+$/.test(value))).toEqual([])
    expect(
      Object.values(format).filter((value) => /path|query|header|authorizer|userAgent/i.test(value)),
    ).toEqual([])
    expect(prod.resources[AccessLogSettings.DestinationArn['Fn::GetAtt'][0]]?.Type).toBe(
      'AWS::Logs::LogGroup',
    )
  })

  it('has traces and reserved concurrency only where they are asked for', () => {
    const reserved = ({ resources }: PackagedTemplate) =>
      ofType({ resources, service: {} }, 'AWS::Lambda::Function')
        .filter(([, { Properties }]) => 'ReservedConcurrentExecutions' in Properties)
        .map(([id, { Properties }]) => [id, Number(Properties.ReservedConcurrentExecutions)])
    expect(reserved(dev)).toEqual([])
    expect(reserved(prod).sort()).toEqual([
      ['MqttDashauthorizeLambdaFunction', 30],
      ['TelemetryDashingestLambdaFunction', 20],
    ])
    for (const [id, { Properties }] of ofType(prod, 'AWS::Lambda::Function'))
      expect(Properties.TracingConfig, id).toEqual({ Mode: 'Active' })
    for (const [id, { Properties }] of ofType(dev, 'AWS::Lambda::Function'))
      expect(Properties.TracingConfig, id).toBeUndefined()
    // A message of the queue is taken by up to so many containers at a time: with fewer, messages would be throttled.
    const [[, mapping] = []] = ofType(prod, 'AWS::Lambda::EventSourceMapping')
    expect(mapping?.Properties.ScalingConfig.MaximumConcurrency).toBeLessThanOrEqual(20)
  })

  it('stays far below 500 resources', () => {
    const added = [
      'AWS::CloudWatch::Alarm',
      'AWS::CloudWatch::Dashboard',
      'AWS::SNS::Topic',
      'AWS::SNS::TopicPolicy',
    ]
    const types = Object.values(prod.resources).map(({ Type }) => Type)
    const counts = [...new Set(types)]
      .map((type) => ({ type, count: types.filter((one) => one === type).length }))
      .sort((one, other) => other.count - one.count)
    const watching = types.filter((type) => added.includes(type)).length
    process.stdout.write(
      `\nStage prod: ${types.length} resources of 500, of which ${watching} watch it\n${counts
        .map(({ type, count }) => `${String(count).padStart(5)} ${type}\n`)
        .join('')}`,
    )
    expect(watching).toBeLessThanOrEqual(25)
    expect(types.length).toBeLessThanOrEqual(450)
  })
})
