import { describe, expect, test } from 'vitest'
import { FlowControl, type MessageSource } from '../../../../local/mqtt/embedded/flow-control.ts'
import { aWhile, publishPacket, rawDevice, start, telemetry } from '../../../support/embedded-broker.ts'
import { until } from '../../../support/waiting.ts'

describe('a flood', () => {
  const many = (id: number, count: number) =>
    Array.from({ length: count }, (_, index) => publishPacket(telemetry(id), `${index}`))

  test('is limited to 64 messages of one client and maxInProgress of all, and nothing is lost', async () => {
    const setup = await start({ hold: true, limits: { maxInProgress: 100 } })
    const one = await rawDevice(setup, 1)
    one.send(...many(1, 500))
    await until(() => setup.calls.length >= 64, 'the first group')
    await aWhile()
    expect(setup.calls).toHaveLength(64)
    for (const id of [2, 3, 4]) (await rawDevice(setup, id)).send(...many(id, 500))
    await until(() => setup.calls.length >= 100, 'the bound')
    await aWhile()
    expect(setup.calls).toHaveLength(100)
    let open = 0
    while (open < 2000) {
      const call = setup.calls[open]
      if (call === undefined) {
        await until(() => setup.calls.length > open, `message ${open}`)
        continue
      }
      expect(setup.calls.length - open).toBeLessThanOrEqual(100)
      call.resolve()
      open++
    }
    for (const id of [1, 2, 3, 4]) {
      const payloads = setup.calls
        .filter(({ event }) => event.topic === telemetry(id))
        .map(({ event }) => Number(Buffer.from(String(event.payload), 'base64').toString()))
      expect(payloads).toEqual(Array.from({ length: 500 }, (_, index) => index))
    }
  })

  test('delays another client by one window per flooding client at most', async () => {
    const setup = await start({ hold: true, limits: { maxInProgress: 32 } })
    const flooding = await Promise.all([1, 2, 3].map((id) => rawDevice(setup, id)))
    for (const [index, client] of flooding.entries()) client.send(...many(index + 1, 1000))
    await until(() => setup.calls.length === 32, 'the bound')
    const good = await rawDevice(setup, 9)
    good.send(publishPacket(telemetry(9), 'x', 1))
    await aWhile()
    let done = 0
    const isIn = () => setup.calls.some(({ event }) => event.topic === telemetry(9))
    while (!isIn() && done < 3000) {
      for (const call of setup.calls.slice(done)) {
        call.resolve()
        done++
      }
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    // Three clients are before it, each with a window of at most 64.
    expect(done).toBeLessThan(500)
  })

  test('leaves turns of the event loop to others', async () => {
    let inTurn = 0
    let most = 0
    let all = 0
    const setup = await start({
      limits: { turnMs: 0 },
      invoke: async () => {
        inTurn++
        all++
      },
    })
    const clients = await Promise.all(Array.from({ length: 40 }, (_, index) => rawDevice(setup, index + 1)))
    let watching = true
    const watch = () => {
      most = Math.max(most, inTurn)
      inTurn = 0
      if (watching) setImmediate(watch)
    }
    for (const [index, client] of clients.entries()) client.send(...many(index + 1, 200))
    watch()
    await until(() => all === 8000, 'all messages')
    watching = false
    // One source is served at once and one by turn, 64 messages each; without flow control all 40 would be.
    expect(most).toBeLessThanOrEqual(256)
  })

  test('whose connection ends gives its places back', async () => {
    const setup = await start({ hold: true, limits: { maxInProgress: 4 } })
    for (let round = 0; round < 4; round++) {
      const client = await rawDevice(setup, 5)
      client.send(publishPacket(telemetry(6), 'not mine'), ...many(5, 3))
      await client.closes()
    }
    const good = await rawDevice(setup, 9)
    good.send(...many(9, 4))
    await until(() => setup.calls.length === 4, 'all four at a time')
  })

  test('of pings is answered', async () => {
    const setup = await start()
    const client = await rawDevice(setup, 5)
    client.send(Buffer.concat(Array.from({ length: 5000 }, () => Buffer.from([0xc0, 0]))))
    await client.got('pingresp', 5000)
  })
})

describe('the throttle', () => {
  test('holds messages back until each is counted, drops none, and does not slow down others', async () => {
    let places = 0
    let counted = 0
    const setup = await start({
      throttle: async (id) => {
        if (id !== '5') return 0
        if (places === 0) return 20
        places--
        counted++
        return 0
      },
    })
    const payloads = () =>
      setup.calls
        .filter(({ event }) => event.topic === telemetry(5))
        .map(({ event }) => Buffer.from(String(event.payload), 'base64').toString())
    const slow = await rawDevice(setup, 5)
    const fast = await rawDevice(setup, 6)
    slow.send(...[1, 2, 3].map((id) => publishPacket(telemetry(5), `${id}`, id)))
    fast.send(publishPacket(telemetry(6), '1', 1))
    await fast.got('puback')
    await aWhile(100)
    expect(payloads()).toEqual([])
    places = 2
    await slow.got('puback', 2)
    await aWhile(100)
    expect(payloads()).toEqual(['1', '2'])
    places = 9
    await slow.got('puback', 3)
    expect(payloads()).toEqual(['1', '2', '3'])
    expect(counted).toBe(3)
  })

  test('is asked for the first message of a queue, not for all that wait', async () => {
    let asked = 0
    let open = false
    const setup = await start({
      throttle: async () => {
        asked++
        return open ? 0 : 10
      },
    })
    const client = await rawDevice(setup, 5)
    client.send(...Array.from({ length: 50 }, (_, index) => publishPacket(telemetry(5), '1', index + 1)))
    await until(() => asked >= 50, 'each has asked once')
    const before = asked
    await aWhile(200)
    // One message that asks every 10 ms asks 20 times; fifty of them would ask 1,000 times.
    expect(asked - before).toBeLessThan(100)
    open = true
    await client.got('puback', 50)
  })

  test('accepts no further window from a device that reconnects, and continues later', async () => {
    let open = false
    const setup = await start({ throttle: async () => (open ? 0 : 10) })
    const messages = Array.from({ length: 60 }, (_, index) => publishPacket(telemetry(5), `${index}`))
    for (let round = 0; round < 5; round++) {
      const client = await rawDevice(setup, 5)
      client.send(...messages)
      await aWhile(20)
      if (round < 4) client.socket.destroy()
    }
    open = true
    await until(() => setup.calls.length >= 120, 'what waited')
    await aWhile()
    // The windows of the first two connections, and what the last connection still sends.
    expect(setup.calls.length).toBeLessThanOrEqual(3 * 64)
    const other = await rawDevice(setup, 6)
    other.send(publishPacket(telemetry(6), '1', 1))
    await other.got('puback')
  })

  test('leaves the places of messages that it holds back to others', async () => {
    const setup = await start({
      throttle: async (id) => (id === '5' ? 60_000 : 0),
      limits: { maxInProgress: 4 },
    })
    const slow = await rawDevice(setup, 5)
    slow.send(...Array.from({ length: 20 }, (_, index) => publishPacket(telemetry(5), '1', index + 1)))
    await aWhile()
    const fast = await rawDevice(setup, 6)
    fast.send(publishPacket(telemetry(6), '1', 1))
    await fast.got('puback')
  })

  test('holds nothing back when it fails', async () => {
    const setup = await start({
      throttle: () => {
        throw new Error('no limiter')
      },
    })
    const client = await rawDevice(setup, 5)
    client.send(publishPacket(telemetry(5), '1', 1))
    await client.got('puback')
  })
})

describe('flow control', () => {
  /** A source with a number of waiting messages, that logs each one it releases. */
  const source = (name: string, messages: number, window: number, log: string[]) => {
    let left = messages
    const self: MessageSource & { left(): number } = {
      room: () => window,
      release(packets) {
        const count = Math.min(packets, left)
        left -= count
        for (let index = 0; index < count; index++) log.push(name)
        return count
      },
      waiting: () => left > 0,
      left: () => left,
    }
    return self
  }
  const turn = () => new Promise((resolve) => setImmediate(resolve))

  test('serves a source at once while it is idle', () => {
    const log: string[] = []
    new FlowControl({ maxInProgress: 10, turnMs: 1000 }).request(source('a', 3, 5, log))
    expect(log).toEqual(['a', 'a', 'a'])
  })

  test('holds at most maxInProgress messages, and continues when places are free', async () => {
    const log: string[] = []
    const flow = new FlowControl({ maxInProgress: 4, turnMs: 1000 })
    const one = source('a', 10, 64, log)
    flow.request(one)
    for (let index = 0; index < 5; index++) await turn()
    expect(log).toHaveLength(4)
    expect(flow.inProgress()).toBe(4)
    flow.leave(3)
    for (let index = 0; index < 5; index++) await turn()
    expect(log).toHaveLength(7)
    expect(flow.inProgress()).toBe(4)
  })

  test('serves sources by turns', async () => {
    const log: string[] = []
    const flow = new FlowControl({ maxInProgress: 1000, turnMs: 0 })
    for (const name of ['a', 'b', 'c']) flow.request(source(name, 6, 2, log))
    while (log.length < 18) await turn()
    // The first source was served at once, before the others were there.
    expect(log.join('')).toBe('aa' + 'aabbcc' + 'aabbcc' + 'bbcc')
  })

  test('accepts a bounded number of messages per turn when the time of the turn is used up', async () => {
    const log: string[] = []
    const flow = new FlowControl({ maxInProgress: 1000, turnMs: 0 })
    for (let index = 0; index < 200; index++) flow.request(source('a', 1, 2, log))
    expect(log).toHaveLength(1)
    const seen: number[] = [log.length]
    while (log.length < 200) {
      await turn()
      seen.push(log.length)
    }
    // Other work had its turn in between.
    const steps = seen.slice(1).map((count, at) => count - (seen[at] as number))
    expect(Math.max(...steps)).toBeLessThanOrEqual(64)
    expect(Math.max(...steps)).toBeGreaterThan(1)
  })

  test('makes a message that was held back wait for a place', async () => {
    const flow = new FlowControl({ maxInProgress: 1, turnMs: 1000 })
    expect(flow.enter()).toBeUndefined()
    let inside = false
    flow.enter()?.then(() => {
      inside = true
    })
    await turn()
    expect(inside).toBe(false)
    flow.leave(1)
    await turn()
    expect(inside).toBe(true)
    expect(flow.inProgress()).toBe(1)
    flow.leave(1)
    expect(flow.inProgress()).toBe(0)
  })

  test('releases nothing after close, and lets no message wait', async () => {
    const log: string[] = []
    const flow = new FlowControl({ maxInProgress: 1, turnMs: 1000 })
    flow.enter()
    const back = flow.enter()
    flow.close()
    await back
    flow.leave(2)
    flow.request(source('a', 3, 5, log))
    await turn()
    expect(log).toEqual([])
    expect(flow.inProgress()).toBe(0)
  })
})
