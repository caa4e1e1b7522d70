import { expect, it } from 'vitest'
import { MessageTap } from '../../../lib/mqtt/message-tap.ts'

const message = (payload: string) => ({ topic: 'a/b', payload, clientId: '1', receivedAt: 0 })

it('keeps messages only while somebody watches', () => {
  const clock = { now: 0 }
  const tap = new MessageTap(() => clock.now)
  tap.record(message('before'))
  expect(tap.isWatched).toBe(false)
  expect(tap.after(0, '#')).toEqual({ messages: [], last: 0, lost: 0 })
  tap.record(message('while'))
  expect(tap.isWatched).toBe(true)
  expect(tap.after(0, '#')).toMatchObject({ messages: [{ number: 1, payload: 'while' }], last: 1 })
  clock.now = 60_000
  tap.record(message('too late'))
  expect(tap.after(0, '#')).toEqual({ messages: [], last: 1, lost: 1 })
})

it('is bounded in number and in size, and tells how many are lost', () => {
  const tap = new MessageTap(() => 0)
  tap.after(0, '#')
  for (let n = 0; n < 2500; n++) tap.record(message('x'))
  expect(tap.after(100, '#')).toMatchObject({ last: 2500, lost: 400 })
  expect(tap.after(100, '#').messages).toHaveLength(2000)
  for (let n = 0; n < 10; n++) tap.record(message('x'.repeat(1_000_000)))
  expect(tap.after(0, '#').messages).toHaveLength(4)
  expect(tap.after(0, 'a/c').messages).toEqual([])
})
