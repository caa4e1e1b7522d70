import { Duplex } from 'node:stream'
import fc from 'fast-check'
import { generate } from 'mqtt-packet'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { limitBytes, PacketGuard } from '../../../../local/mqtt/embedded/packet-guard.ts'

afterEach(() => {
  vi.useRealTimers()
})

const limits = { preConnectBytes: 100, publishBytes: 1000, controlBytes: 50 }
const connect = generate({
  cmd: 'connect',
  clientId: 'a',
  protocolId: 'MQTT',
  protocolVersion: 4,
  clean: true,
})
const publish = (payload: string) =>
  generate({ cmd: 'publish', topic: 't', payload, qos: 0, retain: false, dup: false })
const ping = Buffer.from([0xc0, 0])

const guarded = (taking: (bytes: Buffer) => number = () => 0) => {
  let reads = 0
  const stream = new Duplex({
    read() {
      reads++
    },
    write: (_chunk, _encoding, done) => done(),
  })
  const breaches: string[] = []
  let ready = 0
  const guard = new PacketGuard(stream, limits, {
    breach: (reason) => breaches.push(reason),
    ready: () => {
      ready++
    },
    take: (bytes) => taking(bytes),
  })
  const read = (): Buffer => (stream.read() as Buffer | null) ?? Buffer.alloc(0)
  return { stream, guard, breaches, read, ready: () => ready, reads: () => reads }
}

/** A guard whose client has sent its CONNECT and is authenticated. */
const opened = (taking?: (bytes: Buffer) => number) => {
  const all = guarded(taking)
  all.stream.push(connect)
  all.read()
  all.guard.open()
  return all
}

describe('before authentication', () => {
  test('the CONNECT passes, and later packets wait', () => {
    const { stream, guard, read, breaches } = guarded()
    stream.push(Buffer.concat([connect, ping, ping]))
    expect(read()).toEqual(connect)
    expect(guard.release(10)).toBe(0)
    expect(read()).toHaveLength(0)
    guard.open()
    guard.release(10)
    expect(read()).toEqual(Buffer.concat([ping, ping]))
    expect(breaches).toEqual([])
  })

  test('the sum of all bytes is limited, in any number of chunks', () => {
    const { stream, breaches } = guarded()
    stream.push(connect)
    for (let sent = connect.length; sent < 100; sent++) stream.push(Buffer.from([0]))
    expect(breaches).toEqual([])
    stream.push(Buffer.from([0]))
    expect(breaches).toEqual(['too many bytes before the client was authenticated'])
  })

  test('a length above the limit is a breach when its header has arrived', () => {
    const { stream, breaches, read } = guarded()
    stream.push(Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]))
    expect(breaches).toHaveLength(1)
    expect(read()).toHaveLength(0)
    expect(stream.push(Buffer.alloc(10))).toBe(false)
    expect(read()).toHaveLength(0)
  })

  test.each([[0x30], [0x11], [0xc0], [0x82], [0x00], [0x47]])(
    'a first byte of %i is not CONNECT',
    (first) => {
      const { stream, breaches } = guarded()
      stream.push(Buffer.from([first]))
      expect(breaches).toEqual(['the first packet is not CONNECT'])
    },
  )
})

describe('after authentication', () => {
  test('a PUBLISH may be exactly as long as its limit', () => {
    const fits = opened()
    fits.stream.push(publish('x'.repeat(997)))
    fits.guard.release(10)
    expect(fits.breaches).toEqual([])
    const over = opened()
    over.stream.push(publish('x'.repeat(998)).subarray(0, 3))
    over.guard.release(10)
    expect(over.breaches).toHaveLength(1)
  })

  test('other packets have a lower limit', () => {
    const { stream, guard, breaches } = opened()
    stream.push(Buffer.from([0x82, 51]))
    guard.release(10)
    expect(breaches).toHaveLength(1)
  })

  test('a length of five bytes is malformed', () => {
    const { stream, guard, breaches } = opened()
    stream.push(Buffer.from([0x30, 0x80, 0x80, 0x80, 0x80]))
    guard.release(10)
    expect(breaches).toHaveLength(1)
  })

  test('packets before a bad one have passed', () => {
    const { stream, guard, breaches, read } = opened()
    stream.push(publish('a'))
    guard.release(10)
    stream.push(Buffer.from([0x30, 0xff, 0xff]))
    guard.release(10)
    expect(breaches).toHaveLength(1)
    expect(read()).toEqual(publish('a'))
  })

  test('release passes as many packets as it is asked for, and counts the messages', () => {
    const { stream, guard, read, ready } = opened()
    stream.push(Buffer.concat([publish('1'), ping, publish('2'), publish('3')]))
    expect(ready()).toBe(1)
    expect(guard.waiting()).toBe(true)
    expect(guard.release(2)).toBe(1)
    expect(read()).toEqual(Buffer.concat([publish('1'), ping]))
    expect(guard.release(10)).toBe(2)
    expect(read()).toEqual(Buffer.concat([publish('2'), publish('3')]))
    expect(guard.waiting()).toBe(false)
  })

  test('the transport is paused only while many bytes wait', () => {
    const { stream, guard } = opened()
    expect(stream.push(ping)).toBe(true)
    const packets = Array.from({ length: 9 }, () => publish('x'.repeat(500)))
    expect(stream.push(Buffer.concat(packets))).toBe(false)
    guard.release(packets.length + 1)
    stream.read()
    expect(stream.push(ping)).toBe(true)
    const { stream: other, guard: otherGuard } = guarded()
    expect(other.push(connect)).toBe(true)
    otherGuard.open()
  })

  test('the end of the stream comes after waiting packets', async () => {
    const { stream, guard } = opened()
    const ends = vi.fn()
    stream.on('end', ends)
    stream.push(publish('1'))
    stream.push(null)
    const got: Buffer[] = []
    stream.on('data', (chunk) => got.push(chunk))
    await new Promise(setImmediate)
    expect(ends).not.toHaveBeenCalled()
    guard.release(10)
    await new Promise(setImmediate)
    expect(Buffer.concat(got)).toEqual(publish('1'))
    expect(ends).toHaveBeenCalledTimes(1)
  })

  test('incompleteSince returns when an incomplete packet began', () => {
    vi.useFakeTimers({ now: 1000 })
    const { stream, guard } = opened()
    expect(guard.incompleteSince()).toBeUndefined()
    stream.push(publish('abc').subarray(0, 3))
    guard.release(10)
    expect(guard.incompleteSince()).toBe(1000)
    vi.setSystemTime(2000)
    stream.push(publish('abc').subarray(3, 4))
    guard.release(10)
    expect(guard.incompleteSince()).toBe(1000)
    stream.push(Buffer.concat([publish('abc').subarray(4), ping.subarray(0, 1)]))
    guard.release(10)
    expect(guard.incompleteSince()).toBe(2000)
    stream.push(ping.subarray(1))
    guard.release(10)
    expect(guard.incompleteSince()).toBeUndefined()
  })

  test('time in which the guard holds bytes back does not count', () => {
    vi.useFakeTimers({ now: 1000 })
    const { stream, guard } = opened()
    stream.push(publish('abc').subarray(0, 3))
    guard.release(10)
    stream.push(publish('abc').subarray(3, 4))
    vi.setSystemTime(9000)
    expect(guard.incompleteSince()).toBeUndefined()
    guard.release(10)
    expect(guard.incompleteSince()).toBe(9000)
  })

  test('packets in chunks of any size come out unchanged and whole', () => {
    const packet = fc.oneof(
      fc.string({ maxLength: 300 }).map((text) => publish(text)),
      fc.constant(ping),
      fc.constant(Buffer.from([0x40, 2, 0, 1])),
    )
    fc.assert(
      fc.property(
        fc.array(packet, { minLength: 1, maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 5 }),
        (packets, sizes, atOnce) => {
          const { stream, guard, breaches, read } = opened()
          const bytes = Buffer.concat(packets)
          for (let at = 0, turn = 0; at < bytes.length; turn++) {
            const size = sizes[turn % sizes.length] ?? 1
            stream.push(bytes.subarray(at, at + size))
            at += size
          }
          const ends = new Set<number>([0])
          let end = 0
          for (const { length } of packets) {
            end += length
            ends.add(end)
          }
          const out: Buffer[] = []
          let total = 0
          let messages = 0
          while (guard.waiting()) {
            messages += guard.release(atOnce)
            const piece = read()
            const before = total
            total += piece.length
            out.push(piece)
            expect(ends.has(total)).toBe(true)
            const inside = [...ends].filter((at) => at > before && at <= total).length
            expect(inside).toBeLessThanOrEqual(atOnce)
          }
          expect(Buffer.concat(out)).toEqual(bytes)
          expect(messages).toBe(packets.filter((one) => one[0] === 0x30).length)
          expect(breaches).toEqual([])
        },
      ),
    )
  })
})

test('limitBytes limits until it is lifted', () => {
  const stream = new Duplex({ read() {}, write() {} })
  const breach = vi.fn()
  const lift = limitBytes(stream, 3, breach)
  stream.push(Buffer.from('abc'))
  expect(breach).not.toHaveBeenCalled()
  stream.push(Buffer.from('d'))
  expect(breach).toHaveBeenCalledTimes(1)
  expect(String(stream.read())).toBe('abc')
  lift()
  stream.push(Buffer.from('efg'))
  expect(String(stream.read())).toBe('efg')
})

describe('packets that the owner takes', () => {
  test('are not handed on, and count; behind one that is handed on none is offered', () => {
    const [first, second] = [publish('1'), publish('2')]
    const offered: Buffer[] = []
    const { stream, guard, read } = opened((bytes) => {
      offered.push(bytes)
      return bytes[0] === 0x30 ? first.length : 0
    })
    stream.push(Buffer.concat([first, second, ping, second]))
    expect(guard.release(10)).toBe(3)
    expect(read()).toEqual(Buffer.concat([ping, second]))
    expect(offered.map(({ length }) => length)).toEqual([
      3 * first.length + 2,
      2 * first.length + 2,
      first.length + 2,
    ])
  })

  test('are taken up to the number that is released', () => {
    const { stream, guard, read } = opened(() => publish('1').length)
    stream.push(Buffer.concat([publish('1'), publish('2'), publish('3')]))
    expect(guard.release(2)).toBe(2)
    expect(guard.waiting()).toBe(true)
    expect(guard.release(2)).toBe(1)
    expect(read()).toHaveLength(0)
  })

  test('are not offered while the parser has a part of a packet or has not read', () => {
    let offers = 0
    const { stream, guard, read } = opened(() => {
      offers += 1
      return 0
    })
    stream.push(publish('1').subarray(0, 4))
    guard.release(10)
    read()
    stream.push(publish('1').subarray(4))
    guard.release(10)
    expect(offers).toBe(1)
    stream.push(ping)
    guard.release(10)
    expect(offers).toBe(1)
    read()
    stream.push(ping)
    guard.release(10)
    expect(offers).toBe(2)
  })

  test('let the transport go on that was stopped while they waited', () => {
    const size = publish('x'.repeat(900)).length
    const { stream, guard, reads } = opened(() => size)
    for (let chunk = 0; chunk < 8; chunk += 1) stream.push(publish('x'.repeat(900)))
    expect(stream.push(publish('x'.repeat(900)))).toBe(false)
    const before = reads()
    expect(guard.release(100)).toBe(9)
    expect(reads()).toBe(before + 1)
    expect(stream.push(ping)).toBe(true)
  })
})
