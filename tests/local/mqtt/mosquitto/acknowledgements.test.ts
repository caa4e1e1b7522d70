import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Acknowledgements } from '../../../../local/mqtt/mosquitto/acknowledgements.ts'

describe('acknowledgements', () => {
  let connected: boolean
  let written: number[][]
  let acknowledgements: Acknowledgements
  beforeEach(() => {
    connected = true
    written = []
    acknowledgements = new Acknowledgements((bytes) => {
      if (!connected) return false
      const ids: number[] = []
      for (let at = 0; at < bytes.length; at += 4) {
        expect(bytes.readUInt16BE(at)).toBe(0x4002)
        ids.push(bytes.readUInt16BE(at + 2))
      }
      written.push(ids)
      return true
    }, 3)
  })
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  // Queued acknowledgements of one test must not be written in the next one.
  afterEach(turn)
  const begin = (id: number, text: string, dup: boolean, topic = 'topic') =>
    acknowledgements.begin({ id, topic, payload: Buffer.from(text), dup })
  /** Begins and completes a message. */
  const store = (id: number, text = `message ${id}`) => {
    const message = begin(id, text, false)
    if (message !== undefined) acknowledgements.complete(message)
  }

  it('of one turn of the event loop are written together', async () => {
    for (const id of [1, 2, 65_535]) store(id)
    expect(written).toEqual([])
    await turn()
    expect(written).toEqual([[1, 2, 65_535]])
  })

  it('are sent for a repetition when its message is durable, not before', async () => {
    const message = begin(1, 'a', false)
    expect(begin(1, 'a', true)).toBeUndefined()
    await turn()
    expect(written).toEqual([])
    connected = false
    if (message) acknowledgements.complete(message)
    await turn()
    connected = true
    expect(begin(1, 'a', true)).toBeUndefined()
    await turn()
    expect(written).toEqual([[1]])
  })

  it('are sent again when the broker repeats an acknowledged message', async () => {
    store(1, 'a')
    await turn()
    expect(begin(1, 'a', true)).toBeUndefined()
    await turn()
    expect(written).toEqual([[1], [1]])
  })

  it('treat other content, and a message without the dup flag, as a new message', async () => {
    store(1, 'a')
    await turn()
    expect(begin(1, 'b', true)).toBeDefined()
    expect(begin(1, 'b', false)).toBeDefined()
  })

  it.each([
    ['small', 'x'.repeat(1024)],
    ['large', 'x'.repeat(1025)],
  ])('know a %s message by its topic and all of its content', async (_size, text) => {
    const other = `${text.slice(0, -1)}y`
    store(1, text)
    await turn()
    expect(begin(1, text, true)).toBeUndefined()
    expect(begin(1, text, true, 'other')).toBeDefined()
    store(1, text)
    await turn()
    expect(begin(1, other, true)).toBeDefined()
  })

  it('are remembered for the last maxInProgress messages', async () => {
    for (const id of [1, 2, 3, 4]) {
      store(id)
      await turn()
    }
    expect(begin(1, 'message 1', true)).toBeDefined()
    expect(begin(4, 'message 4', true)).toBeUndefined()
  })

  it('of an old session mean nothing in a new one', async () => {
    store(1, 'a')
    await turn()
    const inProgress = begin(2, 'b', false)
    acknowledgements.forgetSession()
    expect(begin(1, 'a', true)).toBeDefined()
    const reused = begin(2, 'c', false)
    if (inProgress) acknowledgements.complete(inProgress)
    await turn()
    expect(written).toEqual([[1]])
    if (reused) acknowledgements.complete(reused)
    await turn()
    expect(written).toEqual([[1], [2]])
  })
})
