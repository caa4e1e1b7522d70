import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { connectAsync, type MqttClient } from 'mqtt'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { AppError } from '../../../../lib/errors.ts'
import { defaultTopics } from '../../../../lib/mqtt/topics.ts'
import { type Bridge, type BridgeOptions, startBridge } from '../../../../local/mqtt/mosquitto/bridge.ts'
import { loadRules } from '../../../../local/mqtt/rules.ts'
import { describeWith } from '../../../support/backends.ts'
import { hasMosquitto, type MosquittoServer, startMosquitto } from '../../../support/mosquitto.ts'
import { eventually } from '../../../support/waiting.ts'

const rules = await loadRules(fileURLToPath(new URL('../../../../iot-rules/', import.meta.url)))
const topic = 'iotflow/devices/7/telemetry'

describeWith({ mosquitto: hasMosquitto }, 'the bridge', () => {
  let server: MosquittoServer
  let device: MqttClient
  const bridges: Bridge[] = []
  beforeEach(async () => {
    server = await startMosquitto()
    const { username, password, url } = server.serverLogin
    device = await connectAsync(url, { username, password, reconnectPeriod: 50 })
    device.on('error', () => {})
  })
  afterEach(async () => {
    for (const bridge of bridges.splice(0)) await bridge.close()
    await device.endAsync(true)
    await server.end()
  })

  /** A bridge whose function stores every message unless `state` says otherwise, and records the calls. */
  const open = (options: Partial<BridgeOptions> = {}) => {
    const calls: { name: string; payload: string; event: Record<string, unknown> }[] = []
    const lines: string[] = []
    let messages = 0
    const state = { hold: undefined as Promise<void> | undefined, fails: 0 }
    const bridge = startBridge({
      ...server.serverLogin,
      rules,
      topics: defaultTopics,
      async invoke(name, event) {
        const payload = Buffer.from(String(event.payload), 'base64').toString()
        calls.push({ name, payload, event })
        await state.hold
        if (state.fails > 0) {
          state.fails -= 1
          throw new Error('not now')
        }
      },
      nextMessageId: () => `m-${++messages}`,
      arrival: () => 1_760_000_000_000 + messages,
      log: (_level, msg) => void lines.push(msg),
      retryMs: { first: 20, longest: 100 },
      ...options,
    })
    bridges.push(bridge)
    return { bridge, calls, lines, state, payloads: () => calls.map(({ payload }) => payload) }
  }
  const publish = (payload: string, to = topic, retain = false) =>
    device.publishAsync(to, payload, { qos: 1, retain })

  it('hands messages to the functions of their rules', async () => {
    const { bridge, calls } = open()
    await bridge.ready
    await publish('{"t":1}', `${topic}/lab`)
    await publish('{}', 'iotflow/devices/7/status/online', true)
    await publish('{"version":1}', 'iotflow/devices/7/config/reported')
    await publish('x', 'something/else')
    await eventually(() => expect(calls).toHaveLength(3))
    expect(calls.map(({ name }) => name)).toEqual([
      'telemetry-ingest',
      'mqtt-presence',
      'mqtt-report-configuration',
    ])
    expect(calls[0]?.event).toMatchObject({ topic: `${topic}/lab`, client_id: '7', message_id: 'm-1' })
  })

  it('ignores messages that were retained before it connected', async () => {
    await publish('{}', 'iotflow/devices/7/status/online', true)
    const { bridge, calls } = open()
    await bridge.ready
    await publish('{"t":1}')
    await eventually(() => expect(calls).toHaveLength(1))
    expect(calls[0]?.name).toBe('telemetry-ingest')
  })

  it('clears every retained message but the status, and hands over each message once', async () => {
    const { bridge, calls } = open()
    await bridge.ready
    const status = 'iotflow/devices/7/status/online'
    for (const to of [topic, `${topic}/lab`, 'iotflow/devices/7/config/reported', status])
      await publish('{"t":1}', to, true)
    await publish('', `${topic}/other`, true)
    const retained = async () => {
      const { username, password, url } = server.serverLogin
      const seen: string[] = []
      const observer = await connectAsync(url, { username, password, reconnectPeriod: 0 })
      observer.on('message', (at, _payload, { retain }) => void (retain && seen.push(at)))
      await observer.subscribeAsync('iotflow/#', { qos: 1 })
      await observer.publishAsync('iotflow/end', '', { qos: 1 })
      await new Promise((resolve) => setTimeout(resolve, 100))
      await observer.endAsync(true)
      return seen
    }
    await eventually(async () => expect(await retained()).toEqual([status]))
    await publish('last')
    await eventually(() => expect(calls.at(-1)?.payload).toBe('last'))
    expect(calls.map(({ payload }) => payload)).toEqual([...Array(4).fill('{"t":1}'), 'last'])
  })

  it('gets messages that were published while it was offline, once', async () => {
    const first = open()
    await first.bridge.ready
    await first.bridge.close()
    for (let n = 0; n < 50; n += 1) await publish(String(n))
    const second = open()
    await eventually(() => expect(second.calls).toHaveLength(50))
    await second.bridge.close()
    const third = open()
    await third.bridge.ready
    await publish('last')
    await eventually(() => expect(third.payloads()).toEqual(['last']))
  })

  it('acknowledges every stored message when it closes, also when the next bridge starts at once', async () => {
    await open().bridge.ready
    await bridges.pop()?.close()
    await Promise.all(Array.from({ length: 5000 }, (_, n) => publish(String(n))))
    const first = open()
    await eventually(() => expect(first.calls.length).toBe(5000), 1)
    await first.bridge.close()
    const second = open()
    await second.bridge.ready
    await publish('last')
    await eventually(() => expect(second.payloads()).toContain('last'))
    expect(second.payloads()).toEqual(['last'])
  })

  it('does not acknowledge a message before it is durable: the next bridge gets it again', async () => {
    const first = open()
    await first.bridge.ready
    first.state.hold = new Promise(() => {})
    for (const payload of ['a', 'b', 'c']) await publish(payload)
    await eventually(() => expect(first.calls).toHaveLength(3))
    await first.bridge.close()
    const second = open()
    await eventually(() => expect(second.payloads().sort()).toEqual(['a', 'b', 'c']))
  })

  it('retries a message that could not be stored, with the same id and arrival time', async () => {
    const { bridge, calls, state } = open()
    await bridge.ready
    state.fails = 3
    await publish('{"t":1}')
    await eventually(() => expect(calls).toHaveLength(4))
    const events = calls.map(({ event }) => `${event.message_id} ${event.received_at}`)
    expect(new Set(events).size).toBe(1)
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(calls).toHaveLength(4)
  })

  it('has at most maxInProgress messages in progress, and reads on when there is room', async () => {
    const { bridge, calls, state } = open({ maxInProgress: 10 })
    await bridge.ready
    let release = () => {}
    state.hold = new Promise((resolve) => {
      release = resolve
    })
    await Promise.all(Array.from({ length: 100 }, (_, n) => publish(String(n))))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(calls).toHaveLength(10)
    release()
    await eventually(() => expect(calls).toHaveLength(100))
  })

  it('has no more bytes in progress than it may, and reads on when there is room', async () => {
    const { bridge, calls, state } = open({ maxBytesInProgress: 150_000 })
    await bridge.ready
    let release = () => {}
    state.hold = new Promise((resolve) => {
      release = resolve
    })
    await Promise.all(Array.from({ length: 20 }, (_, n) => publish(`"${n}${'x'.repeat(100_000)}"`)))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(calls.length).toBe(2)
    release()
    await eventually(() => expect(calls).toHaveLength(20))
  })

  it('reconnects after the broker was unavailable, and does not hand over again what is in progress', async () => {
    const { bridge, calls, state, lines } = open()
    await bridge.ready
    let release = () => {}
    state.hold = new Promise((resolve) => {
      release = resolve
    })
    await publish('held')
    await eventually(() => expect(calls).toHaveLength(1))
    server.hang()
    server.goOn()
    await server.kill()
    await eventually(() => expect(bridge.connected()).toBe(false))
    await server.start()
    await eventually(() => expect(bridge.connected()).toBe(true))
    release()
    state.hold = undefined
    // Mosquitto was killed and lost the session, so messages before the next SUBSCRIBE are lost.
    await eventually(async () => {
      await publish('after')
      expect(calls.map(({ payload }) => payload)).toContain('after')
    })
    // One line for the lost connection, and one for the refused ones.
    expect(lines.filter((text) => text.startsWith('not connected')).length).toBeLessThanOrEqual(2)
  })

  it('recognises a message whose acknowledgement was lost', async () => {
    const broker = Number(new URL(server.serverLogin.url).port)
    let loses = false
    const proxy = createServer((socket) => {
      const behind = connect(broker, '127.0.0.1')
      const cut = () => {
        socket.destroy()
        behind.destroy()
      }
      for (const one of [socket, behind]) one.on('error', cut).on('close', cut)
      behind.pipe(socket)
      socket.on('data', (chunk) => {
        if (!loses) return void behind.write(chunk)
        loses = false
        cut()
      })
    }).listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    const { port } = proxy.address() as AddressInfo
    const { bridge, payloads, lines } = open({ url: `mqtt://127.0.0.1:${port}` })
    await bridge.ready
    const connections = () => lines.filter((text) => text === 'connected to the broker').length
    for (const round of [1, 2, 3]) {
      loses = true
      await publish('same')
      await eventually(() => expect([loses, connections()]).toEqual([false, round + 1]))
    }
    await publish('same')
    await publish('after')
    await eventually(() => expect(payloads()).toContain('after'))
    expect(payloads()).toEqual(['same', 'same', 'same', 'same', 'after'])
    await bridge.close()
    proxy.close()
    const second = open()
    await second.bridge.ready
    await publish('last')
    await eventually(() => expect(second.payloads()).toEqual(['last']))
  })

  it('logs once why the broker refuses it', async () => {
    const { bridge, lines } = open({ password: 'wrong' })
    await eventually(() => expect(lines).toHaveLength(1))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(bridge.connected()).toBe(false)
    expect(lines).toEqual(['not connected to the broker, retrying'])
  })

  it('takes telemetry the short way, and what is left or failed there by its function', async () => {
    const taken: string[] = []
    const { bridge, calls, payloads } = open({
      take: ({ deviceId, subtopic, payload, messageId }, ended) => {
        const text = Buffer.from(payload).toString()
        if (text === 'other') return false
        taken.push(`${deviceId} ${subtopic} ${messageId} ${text}`)
        setImmediate(ended, text === 'fails' ? new AppError('UNAVAILABLE', 'not now') : undefined)
        return true
      },
    })
    await bridge.ready
    await publish('plain')
    await publish('plain', `${topic}/lab`)
    await publish('other')
    await eventually(() => expect(payloads()).toEqual(['other']))
    await publish('{}', 'iotflow/devices/7/status/online', true)
    await eventually(() => expect(payloads()).toEqual(['other', '{}']))
    await publish('fails')
    await eventually(() => expect(payloads()).toEqual(['other', '{}', 'fails']))
    expect(taken).toEqual(['7 undefined m-1 plain', '7 lab m-2 plain', '7 undefined m-5 fails'])
    expect(calls[2]?.event).toMatchObject({ message_id: 'm-5' })
    await bridge.close()
    const second = open()
    await second.bridge.ready
    await publish('last')
    await eventually(() => expect(second.payloads()).toEqual(['last']))
  })

  it('takes no message the short way while its function has an earlier one of the device', async () => {
    const taken: string[] = []
    const { bridge, state, payloads } = open({
      take: ({ payload }, ended) => {
        const text = Buffer.from(payload).toString()
        if (text === 'throws') throw new Error('not expected')
        if (text === 'other') return false
        taken.push(text)
        setImmediate(ended)
        return true
      },
    })
    await bridge.ready
    let release = () => {}
    state.hold = new Promise((resolve) => {
      release = resolve
    })
    const other = publish('other')
    const behind = publish('behind')
    const beside = publish('beside', 'iotflow/devices/8/telemetry')
    await eventually(() => expect(payloads()).toEqual(['other', 'behind']))
    await eventually(() => expect(taken).toEqual(['beside']))
    release()
    await Promise.all([other, behind, beside])
    await publish('throws')
    await eventually(() => expect(payloads()).toEqual(['other', 'behind', 'throws']))
    await eventually(async () => {
      await publish('later')
      expect(taken).toContain('later')
    })
  })
})
