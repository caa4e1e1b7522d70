import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { connectAsync, type MqttClient } from 'mqtt'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { type Bridge, type BridgeOptions, startBridge } from '../../local/bridge.ts'
import { loadRules } from '../../local/rules.ts'
import { describeWith } from '../support/backends.ts'
import { hasMosquitto, type MosquittoServer, startMosquitto } from '../support/mosquitto.ts'

const rules = await loadRules(fileURLToPath(new URL('../../iot-rules/', import.meta.url)))
const topic = 'iotflow/devices/7/telemetry'

describeWith({ mosquitto: hasMosquitto }, 'the bridge', () => {
  let server: MosquittoServer
  let device: MqttClient
  const bridges: Bridge[] = []
  beforeEach(async () => {
    server = await startMosquitto()
    const { username, password, url } = server.layer
    device = await connectAsync(url, { username, password, reconnectPeriod: 50 })
    device.on('error', () => {})
  })
  afterEach(async () => {
    for (const bridge of bridges.splice(0)) await bridge.close()
    await device.endAsync(true)
    await server.end()
  })

  /** Takes every message unless told otherwise, and remembers them. */
  const open = (options: Partial<BridgeOptions> = {}) => {
    const taken: { name: string; payload: string; event: Record<string, unknown> }[] = []
    const said: string[] = []
    let messages = 0
    const state = { hold: undefined as Promise<void> | undefined, fails: 0 }
    const bridge = startBridge({
      ...server.layer,
      rules,
      async invoke(name, event) {
        const payload = Buffer.from(String(event.payload), 'base64').toString()
        taken.push({ name, payload, event })
        await state.hold
        if (state.fails > 0) {
          state.fails -= 1
          throw new Error('not now')
        }
      },
      nextMessageId: () => `m-${++messages}`,
      arrival: () => 1_760_000_000_000 + messages,
      log: (_level, msg) => void said.push(msg),
      retryMs: { first: 20, longest: 100 },
      ...options,
    })
    bridges.push(bridge)
    return { bridge, taken, said, state, payloads: () => taken.map(({ payload }) => payload) }
  }
  const publish = (payload: string, to = topic, retain = false) =>
    device.publishAsync(to, payload, { qos: 1, retain })

  it('hands messages to the functions of their rules', async () => {
    const { bridge, taken } = open()
    await bridge.ready
    await publish('{"t":1}', `${topic}/lab`)
    await publish('{}', 'iotflow/devices/7/status/online', true)
    await publish('{"version":1}', 'iotflow/devices/7/config/reported')
    await publish('x', 'something/else')
    await vi.waitFor(() => expect(taken).toHaveLength(3))
    expect(taken.map(({ name }) => name)).toEqual([
      'telemetry-ingest',
      'mqtt-presence',
      'mqtt-report-configuration',
    ])
    expect(taken[0]?.event).toMatchObject({ topic: `${topic}/lab`, client_id: '7', message_id: 'm-1' })
  })

  it('does not take what was retained before it came', async () => {
    await publish('{}', 'iotflow/devices/7/status/online', true)
    const { bridge, taken } = open()
    await bridge.ready
    await publish('{"t":1}')
    await vi.waitFor(() => expect(taken).toHaveLength(1))
    expect(taken[0]?.name).toBe('telemetry-ingest')
  })

  it('leaves nothing retained but the status, and takes each message once', async () => {
    const { bridge, taken } = open()
    await bridge.ready
    const status = 'iotflow/devices/7/status/online'
    for (const to of [topic, `${topic}/lab`, 'iotflow/devices/7/config/reported', status])
      await publish('{"t":1}', to, true)
    await publish('', `${topic}/other`, true)
    const retained = async () => {
      const { username, password, url } = server.layer
      const seen: string[] = []
      const observer = await connectAsync(url, { username, password, reconnectPeriod: 0 })
      observer.on('message', (at, _payload, { retain }) => void (retain && seen.push(at)))
      await observer.subscribeAsync('iotflow/#', { qos: 1 })
      await observer.publishAsync('iotflow/end', '', { qos: 1 })
      await new Promise((resolve) => setTimeout(resolve, 100))
      await observer.endAsync(true)
      return seen
    }
    await vi.waitFor(async () => expect(await retained()).toEqual([status]), 5000)
    await publish('last')
    await vi.waitFor(() => expect(taken.at(-1)?.payload).toBe('last'))
    expect(taken.map(({ payload }) => payload)).toEqual([...Array(4).fill('{"t":1}'), 'last'])
  })

  it('gets what was published while it was away, once', async () => {
    const first = open()
    await first.bridge.ready
    await first.bridge.close()
    for (let n = 0; n < 50; n += 1) await publish(String(n))
    const second = open()
    await vi.waitFor(() => expect(second.taken).toHaveLength(50))
    await second.bridge.close()
    const third = open()
    await third.bridge.ready
    await publish('last')
    await vi.waitFor(() => expect(third.payloads()).toEqual(['last']))
  })

  it('leaves nothing unacknowledged that it has taken when it ends, also to one that begins at once', async () => {
    await open().bridge.ready
    await bridges.pop()?.close()
    await Promise.all(Array.from({ length: 5000 }, (_, n) => publish(String(n))))
    const first = open()
    await vi.waitFor(() => expect(first.taken.length).toBe(5000), { timeout: 10_000, interval: 1 })
    await first.bridge.close()
    const second = open()
    await second.bridge.ready
    await publish('last')
    await vi.waitFor(() => expect(second.payloads()).toContain('last'))
    expect(second.payloads()).toEqual(['last'])
  }, 30_000)

  it('acknowledges nothing before it is durable: the next one gets it again', async () => {
    const first = open()
    await first.bridge.ready
    first.state.hold = new Promise(() => {})
    for (const payload of ['a', 'b', 'c']) await publish(payload)
    await vi.waitFor(() => expect(first.taken).toHaveLength(3))
    await first.bridge.close()
    const second = open()
    await vi.waitFor(() => expect(second.payloads().sort()).toEqual(['a', 'b', 'c']))
  }, 20_000)

  it('tries again what could not be taken, with the same id and arrival', async () => {
    const { bridge, taken, state } = open()
    await bridge.ready
    state.fails = 3
    await publish('{"t":1}')
    await vi.waitFor(() => expect(taken).toHaveLength(4))
    const events = taken.map(({ event }) => `${event.message_id} ${event.received_at}`)
    expect(new Set(events).size).toBe(1)
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(taken).toHaveLength(4)
  })

  it('holds no more than it may, and takes the rest when there is room', async () => {
    const { bridge, taken, state } = open({ maxHeld: 10 })
    await bridge.ready
    let release = () => {}
    state.hold = new Promise((resolve) => {
      release = resolve
    })
    await Promise.all(Array.from({ length: 100 }, (_, n) => publish(String(n))))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(taken).toHaveLength(10)
    release()
    await vi.waitFor(() => expect(taken).toHaveLength(100))
  })

  it('comes back when the broker was away, and does not handle again what it still has', async () => {
    const { bridge, taken, state, said } = open()
    await bridge.ready
    let release = () => {}
    state.hold = new Promise((resolve) => {
      release = resolve
    })
    await publish('held')
    await vi.waitFor(() => expect(taken).toHaveLength(1))
    server.hang()
    server.goOn()
    await server.kill()
    await vi.waitFor(() => expect(bridge.connected()).toBe(false))
    await server.start()
    await vi.waitFor(() => expect(bridge.connected()).toBe(true), 5000)
    release()
    state.hold = undefined
    // Mosquitto lost the session with its life: what comes before the bridge has subscribed again is gone.
    await vi.waitFor(async () => {
      await publish('after')
      expect(taken.map(({ payload }) => payload)).toContain('after')
    }, 10_000)
    // The end of the connection, and that nobody listens then.
    expect(said.filter((text) => text.startsWith('not connected')).length).toBeLessThanOrEqual(2)
  }, 20_000)

  it('does not take again what it has acknowledged, when the acknowledgement got lost', async () => {
    const broker = Number(new URL(server.layer.url).port)
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
    const { bridge, payloads, said } = open({ url: `mqtt://127.0.0.1:${port}` })
    await bridge.ready
    const letIn = () => said.filter((text) => text === 'connected to the broker').length
    for (const round of [1, 2, 3]) {
      loses = true
      await publish('same')
      await vi.waitFor(() => expect([loses, letIn()]).toEqual([false, round + 1]), 5000)
    }
    await publish('same')
    await publish('after')
    await vi.waitFor(() => expect(payloads()).toContain('after'))
    expect(payloads()).toEqual(['same', 'same', 'same', 'same', 'after'])
    await bridge.close()
    proxy.close()
    const second = open()
    await second.bridge.ready
    await publish('last')
    await vi.waitFor(() => expect(second.payloads()).toEqual(['last']))
  })

  it('says why it is not let in, once', async () => {
    const { bridge, said } = open({ password: 'wrong' })
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(bridge.connected()).toBe(false)
    expect(said).toEqual(['not connected to the broker, it is tried again'])
  })
})
