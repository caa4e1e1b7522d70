import { describe, expect, it } from 'vitest'
import { EventStream, overviewFrame, streamMessage } from '../../../lib/dashboard/event-stream.ts'
import { StreamReader } from '../../support/event-stream.ts'

const open = () => {
  const ended: EventStream[] = []
  const stream = new EventStream({ deviceId: 1, lastId: 5, ended: (one) => ended.push(one) })
  return { stream, ended, reader: new StreamReader(stream.body) }
}
const reading = (value: unknown) => streamMessage('reading', { value })

describe('an event stream', () => {
  it('sends messages with the id of the newest device event before them', async () => {
    const { stream, reader } = open()
    stream.pushOverview(overviewFrame({ a: 1 }))
    stream.push(streamMessage('event', { id: 7 }), 7)
    stream.push(reading(1))
    expect(await reader.next()).toEqual({ id: '5', event: 'overview', data: { a: 1 } })
    expect(await reader.next()).toEqual({ id: '7', event: 'event', data: { id: 7 } })
    expect(await reader.next()).toEqual({ id: '7', event: 'reading', data: { value: 1 } })
  })

  it('keeps data with line breaks in one line', async () => {
    const { stream, reader } = open()
    stream.push(reading('a\n\nevent: overview\u2028\r'))
    expect((await reader.next())?.data).toEqual({ value: 'a\n\nevent: overview\u2028\r' })
  })

  it('skips to the newest for a reader that is too slow, and says how much it left out', async () => {
    const { stream, reader } = open()
    const text = 'x'.repeat(1000)
    const count = 5000
    for (let n = 0; n < count; n += 1) stream.push(reading(`${n} ${text}`))
    stream.close()
    const got: unknown[] = []
    let skipped = 0
    for (let message = await reader.next(); message !== undefined; message = await reader.next()) {
      if (message.event === 'skipped') skipped += message.data.readings
      else got.push(message.data.value)
    }
    // What the response itself had already: 64 KiB.
    expect(got.length).toBeLessThan(100)
    expect(skipped).toBe(0)

    const slow = open()
    for (let n = 0; n < count; n += 1) slow.stream.push(reading(`${n} ${text}`))
    const seen: number[] = []
    let left = 0
    for (;;) {
      const message = await slow.reader.next()
      if (message?.event === 'skipped') left += message.data.readings
      else seen.push(Number.parseInt(message?.data.value, 10))
      if (seen.at(-1) === count - 1) break
    }
    expect(left).toBeGreaterThan(4000)
    expect(left + seen.length).toBe(count)
  })

  it('leaves out a message that is larger than everything that may wait', async () => {
    const { stream, reader } = open()
    stream.push(reading('x'.repeat(600 * 1024)))
    stream.push(reading(1))
    expect(await reader.next()).toMatchObject({ event: 'skipped', data: { events: 0, readings: 1 } })
    expect(await reader.next()).toMatchObject({ data: { value: 1 } })
  })

  it('keeps only the newest overview for a slow reader', async () => {
    const { stream, reader } = open()
    stream.push(reading('x'.repeat(100_000)))
    for (const n of [1, 2, 3]) stream.pushOverview(overviewFrame({ n }))
    expect((await reader.nextOf('overview')).data).toEqual({ n: 3 })
  })

  it('ends where it is closed, and says once that its reader has gone', async () => {
    const closed = open()
    closed.stream.close()
    expect(await closed.reader.next()).toBeUndefined()
    const left = open()
    await left.reader.cancel()
    left.stream.push(reading(1))
    left.stream.keepAlive()
    left.stream.close()
    expect(left.ended).toEqual([left.stream])
  })
})
