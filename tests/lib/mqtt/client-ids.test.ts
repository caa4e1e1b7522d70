import { describe, expect, test } from 'vitest'
import { ClientIds, deviceOfClientId } from '../../../lib/mqtt/client-ids.ts'

describe('a client id', () => {
  test.each([
    ['7', 7],
    ['7-a', 7],
    ['7_a', 7],
    ['esp32_7', 7],
    ['device_7', 7],
    ['iotflow-device-7-boot3', 7],
    ['a-7-8', 7],
    ['x:y.z-7', 7],
    ['999999999999999', 999_999_999_999_999],
    [`7-${'x'.repeat(126)}`, 7],
  ])('%j names device %j', (clientId, deviceId) => {
    expect(deviceOfClientId(clientId)).toBe(deviceId)
  })

  test.each([
    '',
    'sensor',
    'esp7',
    '7a',
    '07',
    'a-07-7',
    '0',
    '1000000000000000',
    '7 ',
    '7/a',
    '7-é',
    '7\n',
    'iotflow-device-',
    `7-${'x'.repeat(127)}`,
  ])('%j names none', (clientId) => {
    expect(deviceOfClientId(clientId)).toBeUndefined()
  })
})

describe('a stage of an AWS account that has several', () => {
  const dev = new ClientIds('iotflow-dev', 'dev')
  const staging = new ClientIds('iotflow-staging', 'staging')
  const prod = new ClientIds('iotflow', 'prod')
  const plants = new ClientIds('acme-plants-dev', 'dev')

  test('suggests client ids that name the device there, and in no other stage', () => {
    const stages = [dev, staging, prod, plants]
    expect(stages.map((one) => one.suggestedFor(7))).toEqual([
      'iotflow-dev-device-7',
      'iotflow-staging-device-7',
      'iotflow-device-7',
      'acme-plants-dev-device-7',
    ])
    for (const one of stages)
      expect(stages.map((other) => other.deviceOf(one.suggestedFor(7)))).toEqual(
        stages.map((other) => (other === one ? 7 : undefined)),
      )
  })

  test.each(['7', 'esp32_7', 'iotflow-dev7', 'iotflow-device-7', 'iotflow-staging-7', ''])(
    '%j belongs to no device of dev',
    (clientId) => {
      expect(dev.deviceOf(clientId)).toBeUndefined()
    },
  )

  test.each(['iotflow-dev-7', 'iotflow-dev-esp32_7', 'iotflow-dev-device-7-boot3'])(
    '%j is device 7 of dev, and of no other stage',
    (clientId) => {
      expect([dev, staging, prod, plants].map((one) => one.deviceOf(clientId))).toEqual([
        7,
        undefined,
        undefined,
        undefined,
      ])
    },
  )

  test.each(['7', 'esp32_7', 'esp32-devkit-7', 'developer-7', '7-dev', 'iotflow-device-7-boot3'])(
    '%j is device 7 of prod',
    (clientId) => {
      expect(prod.deviceOf(clientId)).toBe(7)
    },
  )
})

test('a broker of one stage takes the client ids of its devices, whatever words they hold', () => {
  const own = new ClientIds('iotflow', undefined)
  expect(['7', 'esp32_7', 'iotflow-dev-7'].map((clientId) => own.deviceOf(clientId))).toEqual([7, 7, 7])
  expect(own.suggestedFor(7)).toBe('iotflow-device-7')
})
