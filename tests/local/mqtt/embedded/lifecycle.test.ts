import { generate } from 'mqtt-packet'
import { describe, expect, test, vi } from 'vitest'
import type { AuthorizerResult } from '../../../../lib/mqtt/authorizer.ts'
import {
  answerTo,
  authorize,
  aWhile,
  connectPacket,
  denied,
  lifecycleRules,
  projectRules,
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

  /** Rights that the authorizer is asked for again at once. `change` makes other answers of it. */
  const startRefreshing = async (change: (result: AuthorizerResult) => AuthorizerResult = (same) => same) => {
    let asked = 0
    const [rule] = projectRules
    if (rule === undefined) throw new Error('there is no rule')
    const matches = vi.fn(rule.matches)
    const setup = await start({
      rules: [{ ...rule, matches }],
      authorize: async (event) => {
        asked += 1
        return { ...change(await authorize(event)), refreshAfterInSeconds: 0.05 }
      },
    })
    const isAskedAgain = async () => {
      const before = asked
      await until(() => asked >= before + 2, 'the authorizer is asked again')
    }
    const device = await rawDevice(setup, 5)
    device.send(publishPacket(telemetry(5), '1', 1))
    await device.got('puback')
    return { setup, device, matches, isAskedAgain }
  }

  test('the same rights again keep the decisions that were made', async () => {
    const { device, matches, isAskedAgain } = await startRefreshing()
    const decisions = matches.mock.calls.length
    await isAskedAgain()
    device.send(publishPacket(telemetry(5), '2', 2))
    await until(() => device.packets.filter(({ cmd }) => cmd === 'puback').length === 2, 'the second puback')
    expect(matches).toHaveBeenCalledTimes(decisions)
  })

  test.each<[string, (result: AuthorizerResult) => unknown]>([
    ['other documents', ({ policyDocuments = [] }) => policyDocuments.slice(0, 1)],
    ['no documents', () => undefined],
    ['documents that are null', () => null],
  ])('the next message is judged by the newest answer: %s', async (_what, documents) => {
    let isChanged = false
    const { setup, device, isAskedAgain } = await startRefreshing((result) =>
      isChanged ? ({ ...result, policyDocuments: documents(result) } as AuthorizerResult) : result,
    )
    isChanged = true
    await isAskedAgain()
    device.send(publishPacket(telemetry(5), '2', 2))
    await device.closes()
    expect(setup.calls).toHaveLength(1)
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
