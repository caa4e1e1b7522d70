import { expect, it } from 'vitest'
import { AppError } from '../../../lib/errors.ts'
import type { TakeMessage } from '../../../lib/telemetry/delivery.ts'
import { DirectTelemetry } from '../../../local/mqtt/direct-telemetry.ts'

/** Hands over messages named by their ids, and notes what becomes of them: `taken 1`, `called 2`, `failed 3`. */
const open = (take: TakeMessage | undefined) => {
  const events: string[] = []
  const ends = new Map<string, () => void>()
  const direct = new DirectTelemetry(
    take &&
      ((message, ended) => {
        const taken = take(message, ended)
        if (taken === true) events.push(`taken ${message.messageId}`)
        return taken
      }),
  )
  const handOver = (deviceId: number, ...ids: string[]) => {
    const telemetry = { deviceId, subtopic: undefined }
    for (const messageId of ids)
      direct.handOver(
        telemetry,
        { topic: 't', payload: Buffer.from('{}'), clientId: 'c', receivedAt: 1, messageId },
        (failure) => events.push(`${failure === undefined ? 'ended' : 'failed'} ${messageId}`),
        () => {
          events.push(`called ${messageId}`)
          ends.set(messageId, direct.callBegins(telemetry))
        },
      )
  }
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  return { direct, events, handOver, turn, end: (id: string) => ends.get(id)?.() }
}

/** Takes messages of devices that are known; a device becomes known, or cannot be read, when `read` says so. */
const openReading = () => {
  const known = new Set<number>()
  const reads: { deviceId: number; ended: (error?: Error) => void }[] = []
  const opened = open(({ deviceId }) => {
    if (known.has(deviceId)) return true
    return new Promise<void>((resolve, reject) => {
      reads.push({ deviceId, ended: (error) => (error === undefined ? resolve() : reject(error)) })
    })
  })
  const read = async (deviceId: number, result: 'known' | 'missing' | Error) => {
    if (result === 'known') known.add(deviceId)
    const error = result instanceof Error ? result : undefined
    // Others may follow the first one.
    for (let n = 0; n < 3; n += 1) {
      for (const one of reads) if (one.deviceId === deviceId) one.ended(error)
      await opened.turn()
    }
  }
  return { ...opened, known, reads, read }
}

it('calls the function where there is no short way, and for topics that are not of telemetry', () => {
  const without = open(undefined)
  without.handOver(1, 'a')
  expect(without.events).toEqual(['called a'])
  const calls: string[] = []
  const message = { topic: 't', payload: Buffer.from('{}'), clientId: 'c', receivedAt: 1, messageId: 'a' }
  new DirectTelemetry(() => true).handOver(
    undefined,
    message,
    () => calls.push('ended'),
    () => calls.push('called'),
  )
  expect(calls).toEqual(['called'])
})

it('keeps a message behind a call of the function for its device, and behind no other', () => {
  let takes = false
  const { events, handOver, end } = open(() => takes)
  handOver(1, 'a')
  takes = true
  handOver(1, 'b')
  handOver(2, 'c')
  end('a')
  handOver(1, 'd')
  end('b')
  handOver(1, 'e')
  expect(events).toEqual(['called a', 'called b', 'taken c', 'called d', 'called e'])
  end('d')
  end('e')
  handOver(1, 'f')
  expect(events.at(-1)).toBe('taken f')
})

it('takes the messages of a device in their order when it is read, with one read and without a call', async () => {
  const { events, handOver, reads, read, known } = openReading()
  known.add(2)
  handOver(1, 'a', 'b')
  handOver(2, 'c')
  handOver(1, 'd')
  expect(events).toEqual(['taken c'])
  expect(reads).toHaveLength(1)
  await read(1, 'known')
  expect(events).toEqual(['taken c', 'taken a', 'taken b', 'taken d'])
  handOver(1, 'e')
  expect(events.at(-1)).toBe('taken e')
})

it('takes them also when more than one read is needed', async () => {
  const missing = ['device', 'rules', 'fields']
  const { events, handOver, turn } = open(() => missing.length === 0 || Promise.resolve(missing.shift()))
  handOver(1, 'a', 'b')
  await turn()
  expect(events).toEqual(['taken a', 'taken b'])
})

it('does not read for ever', async () => {
  let reads = 0
  const { events, handOver, turn, end } = open(() => {
    reads += 1
    return Promise.resolve()
  })
  handOver(1, 'a', 'b')
  await turn()
  expect(events).toEqual(['called a', 'called b'])
  expect(reads).toBe(4)
  end('a')
  end('b')
})

it('keeps the order of messages that come while held ones are taken', async () => {
  let isKnown = false
  const direct = new DirectTelemetry(({ messageId }, ended) => {
    if (!isKnown) return Promise.resolve()
    taken.push(messageId)
    ended()
    return true
  })
  const taken: string[] = []
  const handOver = (messageId: string, ended = () => {}) =>
    direct.handOver(
      { deviceId: 1, subtopic: undefined },
      { topic: 't', payload: Buffer.from('{}'), clientId: 'c', receivedAt: 1, messageId },
      ended,
      () => taken.push(`called ${messageId}`),
    )
  handOver('a', () => handOver('c'))
  handOver('b')
  isKnown = true
  await new Promise((resolve) => setImmediate(resolve))
  handOver('d')
  expect(taken).toEqual(['a', 'b', 'c', 'd'])
})

it.each([['missing'], [new Error('The registry cannot be read.')]] as const)(
  'calls the function for messages of a device that cannot be read: %s',
  async (result) => {
    const { events, handOver, reads, read, end } = openReading()
    handOver(1, 'a', 'b')
    await read(1, result)
    expect(events).toEqual(['called a', 'called b'])
    // A read that was begun for nothing may fail later.
    for (const { ended } of reads) ended(new Error('The registry cannot be read.'))
    end('a')
    end('b')
    handOver(1, 'c')
    expect(events).toEqual(['called a', 'called b'])
    await read(1, 'known')
    expect(events.at(-1)).toBe('taken c')
  },
)

it('calls the function for a held message behind one that the function had to take', async () => {
  let isKnown = false
  const { events, handOver, turn } = open(({ messageId }) =>
    isKnown ? messageId !== 'b' : Promise.resolve(),
  )
  handOver(1, 'a', 'b', 'c')
  isKnown = true
  await turn()
  expect(events).toEqual(['taken a', 'called b', 'called c'])
})

it('calls the function for a message at which the short way fails, and passes failures on', () => {
  const { events, handOver } = open(({ messageId }, ended) => {
    if (messageId === 'a') throw new Error('a fault')
    ended(new AppError('UNAVAILABLE', 'The store is unavailable.'))
    return true
  })
  handOver(1, 'a')
  handOver(2, 'b')
  expect(events).toEqual(['called a', 'failed b', 'taken b'])
})
