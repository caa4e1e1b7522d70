import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Acknowledgements, fingerprintOf } from '../../../../local/mqtt/mosquitto/acknowledgements.ts'

describe('a fingerprint', () => {
  const [small, large] = [Buffer.from('{"t":1}'), Buffer.alloc(2000, 'x')]

  it.each([
    ['a small', small],
    ['a large', large],
  ])('is equal for %s message and its repetition only', (_size, payload) => {
    const one = fingerprintOf('a', payload)
    expect(fingerprintOf('a', Buffer.from(payload))).toBe(one)
    expect(fingerprintOf('b', payload)).not.toBe(one)
    const other = Buffer.from(payload)
    other[payload.length - 1] = 0
    expect(fingerprintOf('a', other)).not.toBe(one)
  })

  it('of a large message is short', () => {
    expect(fingerprintOf('a', large).length).toBeLessThan(100)
  })
})

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
  /** Begins and completes a message. */
  const store = (id: number, text = `message ${id}`) => {
    const message = acknowledgements.begin(id, text, false)
    if (message !== undefined) acknowledgements.complete(id, message)
  }

  it('of one turn of the event loop are written together', async () => {
    for (const id of [1, 2, 65_535]) store(id)
    expect(written).toEqual([])
    await turn()
    expect(written).toEqual([[1, 2, 65_535]])
  })

  it('are sent for a repetition when its message is durable, not before', async () => {
    const message = acknowledgements.begin(1, 'a', false)
    expect(acknowledgements.begin(1, 'a', true)).toBeUndefined()
    await turn()
    expect(written).toEqual([])
    connected = false
    if (message) acknowledgements.complete(1, message)
    await turn()
    connected = true
    expect(acknowledgements.begin(1, 'a', true)).toBeUndefined()
    await turn()
    expect(written).toEqual([[1]])
  })

  it('are sent again when the broker repeats an acknowledged message', async () => {
    store(1, 'a')
    await turn()
    expect(acknowledgements.begin(1, 'a', true)).toBeUndefined()
    await turn()
    expect(written).toEqual([[1], [1]])
  })

  it('treat other content, and a message without the dup flag, as a new message', async () => {
    store(1, 'a')
    await turn()
    expect(acknowledgements.begin(1, 'b', true)).toBeDefined()
    expect(acknowledgements.begin(1, 'b', false)).toBeDefined()
  })

  it('are remembered for the last maxInProgress messages', async () => {
    for (const id of [1, 2, 3, 4]) {
      store(id)
      await turn()
    }
    expect(acknowledgements.begin(1, 'message 1', true)).toBeDefined()
    expect(acknowledgements.begin(4, 'message 4', true)).toBeUndefined()
  })

  it('of an old session mean nothing in a new one', async () => {
    store(1, 'a')
    await turn()
    const inProgress = acknowledgements.begin(2, 'b', false)
    acknowledgements.forgetSession()
    expect(acknowledgements.begin(1, 'a', true)).toBeDefined()
    const reused = acknowledgements.begin(2, 'c', false)
    if (inProgress) acknowledgements.complete(2, inProgress)
    await turn()
    expect(written).toEqual([[1]])
    if (reused) acknowledgements.complete(2, reused)
    await turn()
    expect(written).toEqual([[1], [2]])
  })
})
