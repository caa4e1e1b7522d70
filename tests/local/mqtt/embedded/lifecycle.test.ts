import { generate } from 'mqtt-packet'
import { describe, expect, test } from 'vitest'
import {
  answerTo,
  authorize,
  aWhile,
  connectPacket,
  denied,
  lifecycleRules,
  publishPacket,
  rawClient,
  rawDevice,
  type Setup,
  start,
  subscribePacket,
  telemetry,
} from '../../../support/embedded-broker.ts'
import { until } from '../../../support/waiting.ts'

describe('lifecycle events', () => {
  const lifecycleOf = (setup: Setup) =>
    setup.calls.map(({ functionName, event }) => {
      expect(functionName).toBe('mqtt-presence')
      const payload = JSON.parse(Buffer.from(String(event.payload), 'base64').toString()) as {
        clientId: string
        eventType: string
        sessionIdentifier: string
        versionNumber: number
        disconnectReason?: string
      }
      expect(event.topic).toBe(`$aws/events/presence/${payload.eventType}/${payload.clientId}`)
      return payload
    })

  test('report each connection, its end with the reason, and traffic', async () => {
    const traffic: string[] = []
    const setup = await start({
      rules: lifecycleRules,
      onTraffic: (id) => {
        traffic.push(id)
        throw new Error('a hook may fail')
      },
    })
    const one = await rawDevice(setup, 5)
    const two = await rawDevice(setup, 5, { clientId: '5-b' })
    expect(setup.broker.connected()).toBe(2)
    expect(traffic).toEqual([])
    one.send(Buffer.from([0xc0, 0]))
    await one.got('pingresp')
    expect(traffic).toEqual(['5'])
    one.socket.destroy()
    await until(() => setup.calls.length === 3, 'one has gone')
    expect(await setup.broker.disconnect('5-b', { cleanSession: true, preventWill: true })).toBe(true)
    await two.closes()
    const three = await rawDevice(setup, 5, { clientId: '5-c' })
    three.send(generate({ cmd: 'disconnect' }))
    await until(() => setup.calls.length === 6, 'all ends')
    expect(await setup.broker.disconnect('5-b', { cleanSession: true, preventWill: true })).toBe(false)
    expect(await answerTo(setup, connectPacket(5, { password: Buffer.from('no') }))).toBe(4)
    const events = lifecycleOf(setup)
    expect(
      events.map(({ clientId, eventType, disconnectReason }) => [clientId, eventType, disconnectReason]),
    ).toEqual([
      ['5', 'connected', undefined],
      ['5-b', 'connected', undefined],
      ['5', 'disconnected', 'CONNECTION_LOST'],
      ['5-b', 'disconnected', 'API_INITIATED_DISCONNECT'],
      ['5-c', 'connected', undefined],
      ['5-c', 'disconnected', 'CLIENT_INITIATED_DISCONNECT'],
    ])
    const [first, second, ended] = events
    expect(ended?.sessionIdentifier).toBe(first?.sessionIdentifier)
    expect(ended?.versionNumber).toBe(first?.versionNumber)
    expect(second?.sessionIdentifier).not.toBe(first?.sessionIdentifier)
    expect(second?.versionNumber).toBeGreaterThan(first?.versionNumber ?? 0)
  })

  test('are sent again when the function fails', async () => {
    const calls: string[] = []
    await rawDevice(
      await start({
        rules: lifecycleRules,
        invoke: async (_name, event) => {
          calls.push(String(event.topic))
          if (calls.length < 3) throw new Error('not now')
        },
      }),
      5,
    )
    await until(() => calls.length === 3, 'the third try')
    expect(new Set(calls)).toEqual(new Set(['$aws/events/presence/connected/5']))
  })

  test('the authorizer is asked again about an open connection, which ends when it is refused', async () => {
    let letIn = true
    const setup = await start({
      authorize: async (event) => {
        const result = await authorize(event)
        return { ...(letIn ? result : denied), refreshAfterInSeconds: 0.05 }
      },
    })
    const device = await rawDevice(setup, 5)
    await aWhile(1200)
    expect(setup.broker.connected()).toBe(1)
    letIn = false
    await device.closes()
  })

  test('the next message is judged by the rights of the newest answer', async () => {
    let mayPublish = true
    let asked = 0
    const setup = await start({
      authorize: async (event) => {
        asked += 1
        const result = await authorize(event)
        const [connect] = result.policyDocuments ?? []
        const policyDocuments = mayPublish ? result.policyDocuments : [connect ?? '']
        return { ...result, policyDocuments, refreshAfterInSeconds: 0.05 }
      },
    })
    const device = await rawDevice(setup, 5)
    const hasAsked = (times: number) => until(() => asked >= times, 'the authorizer is asked again')
    device.send(publishPacket(telemetry(5), '1', 1))
    await device.got('puback')
    // The same rights again change nothing.
    await hasAsked(asked + 2)
    device.send(publishPacket(telemetry(5), '2', 2))
    await until(() => device.packets.filter(({ cmd }) => cmd === 'puback').length === 2, 'the second puback')
    mayPublish = false
    await hasAsked(asked + 2)
    device.send(publishPacket(telemetry(5), '3', 3))
    await device.closes()
    expect(setup.calls).toHaveLength(2)
  })

  test('a second connection with a client id ends the first', async () => {
    const setup = await start()
    const one = await rawDevice(setup, 5)
    await rawDevice(setup, 5)
    await one.closes()
    expect(setup.broker.connected()).toBe(1)
  })

  test('a device that reconnects before its old connection is cleaned up stays registered', async () => {
    const setup = await start()
    let last = await rawDevice(setup, 5)
    for (let round = 0; round < 20; round++) {
      const next = await rawClient(setup.broker.port)
      // aedes needs one more turn to clean up a connection that has subscriptions.
      last.send(subscribePacket('iotflow/devices/5/commands', 'iotflow/devices/5/config'))
      await last.got('suback')
      next.send(connectPacket(5))
      last.socket.destroy()
      await next.got('connack')
      last = next
    }
    await aWhile()
    expect(last.isClosed()).toBe(false)
    await rawDevice(setup, 5)
    await last.closes()
    await until(() => setup.broker.connected() === 1, 'one is left')
  })
})
