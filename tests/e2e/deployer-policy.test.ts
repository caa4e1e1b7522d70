/** The policy of who deploys, against the types of what a whole stage consists of. */
import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { type PackagedTemplate, packageTemplate, type Resource } from '../support/serverless.ts'

interface Statement {
  readonly Action: string | readonly string[]
  readonly Resource: string | readonly string[]
  readonly Condition?: { readonly StringEquals?: Readonly<Record<string, readonly string[]>> }
}

const policy = JSON.parse(
  readFileSync(new URL('../../cloud/deployer-policy.json', import.meta.url), 'utf8'),
) as { readonly Statement: readonly Statement[] }

/** What CloudFormation calls to make and to delete a resource of each type; its reference of permissions names them. */
const callsOf: Readonly<Record<string, readonly string[]>> = {
  'AWS::ApiGatewayV2::Api': ['apigateway:POST', 'apigateway:DELETE', 'apigateway:TagResource'],
  'AWS::ApiGatewayV2::ApiMapping': ['apigateway:POST', 'apigateway:DELETE'],
  'AWS::ApiGatewayV2::DomainName': ['apigateway:POST', 'apigateway:DELETE'],
  'AWS::ApiGatewayV2::Integration': ['apigateway:POST', 'apigateway:DELETE'],
  'AWS::ApiGatewayV2::Route': ['apigateway:POST', 'apigateway:DELETE'],
  'AWS::ApiGatewayV2::Stage': ['apigateway:POST', 'apigateway:DELETE', 'logs:CreateLogDelivery'],
  'AWS::Budgets::Budget': ['budgets:ModifyBudget'],
  'AWS::CloudWatch::Alarm': ['cloudwatch:PutMetricAlarm', 'cloudwatch:DeleteAlarms'],
  'AWS::CloudWatch::Dashboard': ['cloudwatch:PutDashboard', 'cloudwatch:DeleteDashboards'],
  'AWS::Events::Rule': ['events:PutRule', 'events:PutTargets', 'events:RemoveTargets', 'events:DeleteRule'],
  'AWS::IAM::Role': ['iam:CreateRole', 'iam:PutRolePolicy', 'iam:DeleteRole', 'iam:PassRole'],
  'AWS::IoT::Authorizer': ['iot:CreateAuthorizer', 'iot:UpdateAuthorizer', 'iot:DeleteAuthorizer'],
  'AWS::IoT::DomainConfiguration': ['iot:CreateDomainConfiguration', 'iot:DeleteDomainConfiguration'],
  'AWS::IoT::TopicRule': ['iot:CreateTopicRule', 'iot:ReplaceTopicRule', 'iot:DeleteTopicRule'],
  'AWS::Lambda::EventInvokeConfig': [
    'lambda:PutFunctionEventInvokeConfig',
    'lambda:DeleteFunctionEventInvokeConfig',
  ],
  'AWS::Lambda::EventSourceMapping': ['lambda:CreateEventSourceMapping', 'lambda:DeleteEventSourceMapping'],
  'AWS::Lambda::Function': ['lambda:CreateFunction', 'lambda:UpdateFunctionCode', 'lambda:DeleteFunction'],
  'AWS::Lambda::Permission': ['lambda:AddPermission', 'lambda:RemovePermission'],
  'AWS::Logs::LogGroup': ['logs:CreateLogGroup', 'logs:PutRetentionPolicy', 'logs:DeleteLogGroup'],
  'AWS::S3::Bucket': ['s3:CreateBucket', 's3:DeleteBucket', 's3:PutObject'],
  'AWS::S3::BucketPolicy': ['s3:PutBucketPolicy', 's3:DeleteBucketPolicy'],
  'AWS::SNS::Subscription': ['sns:Subscribe', 'sns:Unsubscribe'],
  'AWS::SNS::Topic': ['sns:CreateTopic', 'sns:DeleteTopic'],
  'AWS::SNS::TopicPolicy': ['sns:SetTopicAttributes'],
  'AWS::SQS::Queue': ['sqs:CreateQueue', 'sqs:SetQueueAttributes', 'sqs:DeleteQueue'],
}

const listOf = (value: string | readonly string[]) => (typeof value === 'string' ? [value] : value)
const matches = (pattern: string, text: string) =>
  new RegExp(`^${pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`).test(text)
const isAllowed = (call: string, arn?: string) =>
  policy.Statement.some(
    ({ Action, Resource }) =>
      listOf(Action).some((action) => matches(action, call)) &&
      (arn === undefined || listOf(Resource).some((resource) => matches(resource, arn))),
  )

let template: PackagedTemplate
beforeAll(async () => {
  const certificate = 'arn:aws:acm:eu-central-1:123456789012:certificate/0af1'
  template = await packageTemplate('prod', {
    alarmEmail: 'operator@example.com',
    monthlyBudgetUsd: '50',
    mqttDomain: 'mqtt.example.com',
    mqttCertificate: certificate,
    apiDomain: 'api.example.com',
    apiCertificate: certificate,
  })
}, 180_000)

describe('the policy of who deploys', () => {
  it('allows what each type of resource of the stack needs', () => {
    const types = [...new Set(Object.values(template.resources).map(({ Type }) => Type))]
    expect(types.length).toBeGreaterThan(15)
    expect(types.filter((type) => callsOf[type] === undefined)).toEqual([])
    const missing = types.flatMap((type) => (callsOf[type] ?? []).filter((call) => !isAllowed(call)))
    expect(missing).toEqual([])
  })

  it('covers the resources by their names', () => {
    const named = (type: string, nameOf: (properties: Resource['Properties']) => unknown) =>
      Object.values(template.resources)
        .filter(({ Type }) => Type === type)
        .map(({ Properties }) => nameOf(Properties))
        .filter((name): name is string => typeof name === 'string')
        .map((name) => name.replaceAll('prod', 'STAGE'))
    const wrong = [
      ...named('AWS::Lambda::Function', ({ FunctionName }) => FunctionName).map((name) => [
        'lambda:CreateFunction',
        `arn:aws:lambda:REGION:ACCOUNT:function:${name}`,
      ]),
      ...named('AWS::IoT::TopicRule', ({ RuleName }) => RuleName).map((name) => [
        'iot:CreateTopicRule',
        `arn:aws:iot:REGION:ACCOUNT:rule/${name}`,
      ]),
      ...named('AWS::IoT::Authorizer', ({ AuthorizerName }) => AuthorizerName).map((name) => [
        'iot:CreateAuthorizer',
        `arn:aws:iot:REGION:ACCOUNT:authorizer/${name}`,
      ]),
      ...named('AWS::IoT::DomainConfiguration', ({ DomainConfigurationName }) => DomainConfigurationName).map(
        (name) => ['iot:CreateDomainConfiguration', `arn:aws:iot:REGION:ACCOUNT:domainconfiguration/${name}`],
      ),
      ...named('AWS::Logs::LogGroup', ({ LogGroupName }) => LogGroupName).map((name) => [
        'logs:CreateLogGroup',
        `arn:aws:logs:REGION:ACCOUNT:log-group:${name}`,
      ]),
      ...named('AWS::IAM::Role', ({ RoleName }) => RoleName).map((name) => [
        'iam:CreateRole',
        `arn:aws:iam::ACCOUNT:role/${name}`,
      ]),
      ...named('AWS::SNS::Topic', ({ TopicName }) => TopicName).map((name) => [
        'sns:CreateTopic',
        `arn:aws:sns:REGION:ACCOUNT:${name}`,
      ]),
      ...named('AWS::CloudWatch::Alarm', ({ AlarmName }) => AlarmName).map((name) => [
        'cloudwatch:PutMetricAlarm',
        `arn:aws:cloudwatch:REGION:ACCOUNT:alarm:${name}`,
      ]),
      ...named('AWS::CloudWatch::Dashboard', ({ DashboardName }) => DashboardName).map((name) => [
        'cloudwatch:PutDashboard',
        `arn:aws:cloudwatch::ACCOUNT:dashboard/${name}`,
      ]),
    ].filter(([call = '', arn]) => !isAllowed(call, arn))
    expect(wrong).toEqual([])
  })

  it('lets roles be handed to the services that take them, and to no other', () => {
    const takers = Object.values(template.resources)
      .filter(({ Type }) => Type === 'AWS::IAM::Role')
      .flatMap(({ Properties }) => Properties.AssumeRolePolicyDocument.Statement[0].Principal.Service)
    const passing = policy.Statement.filter(({ Action }) => listOf(Action).includes('iam:PassRole'))
    const allowed = passing.flatMap(
      ({ Condition }) => Condition?.StringEquals?.['iam:PassedToService'] ?? ['*'],
    )
    expect(allowed.sort()).toEqual([...new Set(takers)].sort())
  })

  it('allows nothing of everything', () => {
    const wide = policy.Statement.filter(
      ({ Action, Resource }) =>
        listOf(Resource).includes('*') && listOf(Action).some((action) => action.includes('*')),
    )
    expect(wide).toEqual([])
    expect(isAllowed('iam:CreateUser')).toBe(false)
    expect(isAllowed('iam:CreateRole', 'arn:aws:iam::ACCOUNT:role/other')).toBe(false)
    expect(isAllowed('lambda:UpdateFunctionCode', 'arn:aws:lambda:REGION:ACCOUNT:function:other')).toBe(false)
  })
})
