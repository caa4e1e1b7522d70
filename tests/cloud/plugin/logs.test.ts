import { expect, it } from 'vitest'
import { addLogGroups } from '../../../cloud/plugin/logs.ts'
import type { ServiceDefinition } from '../../../cloud/plugin/roles.ts'

it('lets the functions of an area share a log group, and keeps what the service has already', () => {
  const service: ServiceDefinition = {
    service: 'iotflow',
    custom: { topicRoot: 'iotflow', clientIds: '*', usedDomainConfiguration: 'iotflow-staging' },
    provider: { logRetentionInDays: 30 },
    functions: Object.fromEntries(
      ['mqtt-status', 'mqtt-authorize', 'admin-list'].map((name) => [
        name,
        { name: `iotflow-staging-${name}` },
      ]),
    ),
    resources: { Resources: { SpoolQueue: {} } },
  }
  addLogGroups(service, 'staging')
  const group = (area: string) => ({
    Type: 'AWS::Logs::LogGroup',
    Properties: { LogGroupName: `/aws/lambda/iotflow-staging-${area}`, RetentionInDays: 30 },
  })
  expect(service.resources).toEqual({
    Resources: { SpoolQueue: {}, MqttLogs: group('mqtt'), AdminLogs: group('admin') },
  })
  expect(service.functions['mqtt-authorize']).toEqual({
    name: 'iotflow-staging-mqtt-authorize',
    disableLogs: true,
    dependsOn: ['MqttLogs'],
    logs: { logGroup: '/aws/lambda/iotflow-staging-mqtt' },
  })
})
