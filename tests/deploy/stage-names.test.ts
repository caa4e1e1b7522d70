/** Stages share an account, and in it the topics and client ids of AWS IoT Core: no stage may see what another one has. */
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { awsTopicMatcher } from '../../lib/mqtt/topics.ts'
import { parseRule } from '../../local/mqtt/rules.ts'
import { rulesOfDeviceTopics, rulesOfOtherTopics } from '../support/rule-topics.ts'
import type { Resource } from '../support/serverless.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { packageStage, settings } from './serverless.ts'
import { stages } from './setup.ts'
import { readTemplate, resourcesOf, type Template } from './template.ts'

const rootOf = (stage: string) => (stage === 'prod' ? 'iotflow' : `iotflow-${stage}`)

const propertiesOf = (template: Template, type: string): Resource['Properties'][] =>
  resourcesOf(template, type).map(({ Properties }) => Properties)

/** What a stage names in the account: topics, rules, client ids, resources. */
const namesOf = (template: Template): string[] => {
  const arns =
    JSON.stringify(template.Resources).match(/:iot:[^"]*:(?:topic|client|domainconfiguration)\/[^"]+/g) ?? []
  const rules = propertiesOf(template, 'AWS::IoT::TopicRule')
  return [
    ...rules.map(({ RuleName }) => RuleName),
    ...rules
      .map(({ TopicRulePayload: { Sql } }) => parseRule(Sql).filter)
      .filter((filter) => !filter.startsWith('$')),
    ...arns.map((arn) => arn.replace(/^.*:(?=\w+\/)/, '')),
    ...propertiesOf(template, 'AWS::IoT::Authorizer').map(({ AuthorizerName }) => AuthorizerName),
    ...propertiesOf(template, 'AWS::IoT::DomainConfiguration').map((one) => one.DomainConfigurationName),
    ...propertiesOf(template, 'AWS::Lambda::Function').map(({ FunctionName }) => FunctionName),
    ...propertiesOf(template, 'AWS::Logs::LogGroup').map(({ LogGroupName }) => LogGroupName),
    ...propertiesOf(template, 'AWS::SQS::Queue').flatMap(({ QueueName }) => QueueName ?? []),
  ]
}

it('name nothing that another stage of the account names, too', async () => {
  const names = new Map<string, string[]>()
  for (const stage of stages) names.set(stage, namesOf(await readTemplate(`${inject('packages')}/${stage}`)))
  for (const [stage, own] of names) {
    expect(own.length, stage).toBeGreaterThan(50)
    const others = new Set([...names].filter(([other]) => other !== stage).flatMap(([, list]) => list))
    expect(own.filter((name) => others.has(name))).toEqual([])
  }
  // Prod has the client ids that begin otherwise: the authorizer and the ends of sessions see to that.
  const clients = [...names.values()].map((list) => [
    ...new Set(list.filter((name) => name.startsWith('client/'))),
  ])
  expect(clients).toEqual([['client/iotflow-dev-*'], ['client/*']])
})

describe.each(stages)('stage %s', (stage) => {
  let template: Template
  beforeAll(async () => {
    template = await readTemplate(`${inject('packages')}/${stage}`)
  })

  it('hands each message of a device to one of its rules', () => {
    const rules = propertiesOf(template, 'AWS::IoT::TopicRule')
      .map(({ TopicRulePayload }) => TopicRulePayload)
      .filter(({ RuleDisabled }) => RuleDisabled !== true)
      .map(({ Sql }) => awsTopicMatcher(parseRule(Sql).filter))
    const own = Object.entries(rulesOfDeviceTopics).map(
      ([topic, names]) => [`${rootOf(stage)}/devices/7/${topic}`, names] as const,
    )
    for (const [topic, names] of [...Object.entries(rulesOfOtherTopics), ...own])
      expect(rules.filter((matches) => matches(topic)).length, topic).toBe(names.length)
  })

  it('has an address for devices that asks its authorizer, and where each port is one for MQTT', () => {
    const own = template.Resources.DeviceDomain
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
    expect(resourcesOf(template, 'AWS::IoT::DomainConfiguration')).toEqual([own])
  })
})

describe('a stage with a root of topics and a domain of its own', () => {
  const certificate = 'arn:aws:acm:eu-central-1:123456789012:certificate/0af1'
  let template: Template
  let folder: Awaited<ReturnType<typeof temporaryFolder>>
  beforeAll(async () => {
    folder = await temporaryFolder()
    await packageStage('dev', folder.path, { ...settings, TOPIC_ROOT: 'acme-dev' }, [
      '--param=mqttDomain=mqtt.example.com',
      `--param=mqttCertificate=${certificate}`,
    ])
    template = await readTemplate(folder.path)
  })
  afterAll(() => folder.remove())

  const variables = () => template.Resources.SystemDashhealthLambdaFunction?.Properties.Environment.Variables

  it('has them in its rules, rights and functions', () => {
    const text = JSON.stringify(template)
    expect(text).not.toMatch(/iotflow(?:-dev)?\/(?:devices|fleet)/)
    expect(text.match(/acme-dev\/devices/g)?.length).toBeGreaterThan(15)
    expect(text).toContain('client/acme-dev-*')
    expect(variables().TOPIC_ROOT).toBe('acme-dev')
  })

  it('has its domain for MQTT', () => {
    expect(template.Resources.MqttDomain?.Properties).toMatchObject({
      DomainConfigurationName: 'iotflow-dev-mqtt.example.com',
      DomainName: 'mqtt.example.com',
      ServerCertificateArns: [certificate],
    })
    expect(variables().IOT_DOMAIN_CONFIGURATION).toBe('iotflow-dev-mqtt.example.com')
  })
})
