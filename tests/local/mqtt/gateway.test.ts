import { connectAsync } from 'mqtt'
import { afterEach, describe, expect, it } from 'vitest'
import { createMessenger } from '../../../lib/broker/messenger.ts'
import { createLog } from '../../../lib/log.ts'
import { defaultTopics } from '../../../lib/mqtt/topics.ts'
import { type GatewayOptions, type MqttGateway, openGateway } from '../../../local/mqtt/gateway.ts'
import { authorize, keyOf, projectRules, telemetry } from '../../support/embedded-broker.ts'

const noPorts = { mqtt: undefined, mqttWs: undefined, mqttTls: undefined }
const gateways: MqttGateway[] = []
afterEach(async () => {
  for (const gateway of gateways.splice(0)) {
    await gateway.stopMessages()
    await gateway.close()
  }
})

const open = async (options: Partial<GatewayOptions>) => {
  const gateway = await openGateway({ host: '127.0.0.1', mqtt: undefined, ports: noPorts, ...options })
  gateways.push(gateway)
  return gateway
}

describe('the gateway', () => {
  it.each([
    ['has no broker without a port', {}],
    ['has no broker without a certificate for its only port', { ports: { ...noPorts, mqttTls: 0 } }],
    ['has no broker when MQTT_URL is none', { mqtt: 'none' as const, ports: { ...noPorts, mqtt: 0 } }],
  ])('%s, and no data plane', async (_what, options) => {
    const gateway = await open(options)
    expect(gateway.kind).toBe('none')
    expect(gateway.iot).toBeUndefined()
  })

  it('connects the data plane to the embedded broker', async () => {
    const gateway = await open({ ports: { ...noPorts, mqtt: 0 } })
    expect(gateway.kind).toBe('embedded')
    expect(gateway.clientsOf(5)).toBeUndefined()
    const order: string[] = []
    const messenger = createMessenger(gateway.iot ?? { endpoint: '', region: '' })
    await expect(messenger.check()).rejects.toThrow()
    await gateway.startBroker(
      {
        rules: [],
        topics: defaultTopics,
        invoke: async () => {},
        arrival: Date.now,
        log: createLog('silent'),
      },
      {
        authorize: () => Promise.reject(new Error('nobody connects')),
        onCommandReceived: () => {},
        resetPresence: async () => void order.push(`presence, port ${gateway.ports.mqtt}`),
        async republish() {
          order.push('configurations')
          await messenger.publish({ topic: 'a', payload: 'x', retain: true })
        },
      },
    )
    await messenger.check()
    expect(order).toEqual(['presence, port undefined', 'configurations'])
    expect(gateway.ports).toEqual({ mqtt: expect.any(Number), mqttWs: undefined, mqttTls: undefined })
    messenger.close()
  })

  it('hands telemetry on the short way to the intake, and tells the clients of a device', async () => {
    const gateway = await open({ ports: { ...noPorts, mqtt: 0 } })
    const taken: unknown[] = []
    const called: string[] = []
    await gateway.startBroker(
      {
        rules: projectRules,
        topics: defaultTopics,
        invoke: async (functionName) => void called.push(functionName),
        take({ deviceId, payload }, ended) {
          taken.push([deviceId, Buffer.from(payload).toString()])
          ended()
          return true
        },
        arrival: Date.now,
        log: createLog('silent'),
      },
      { authorize, onCommandReceived: () => {}, resetPresence: async () => {}, republish: async () => {} },
    )
    const client = await connectAsync(`mqtt://127.0.0.1:${gateway.ports.mqtt}`, {
      clientId: '5',
      username: '5',
      password: keyOf(5),
    })
    await client.publishAsync(telemetry(5), '{"a":1}', { qos: 1 })
    expect(gateway.clientsOf(5)).toEqual(new Map([['5', true]]))
    expect(gateway.clientsOf(6)).toEqual(new Map())
    await client.endAsync()
    expect(taken).toEqual([[5, '{"a":1}']])
    expect(called).toEqual([])
  })
})
