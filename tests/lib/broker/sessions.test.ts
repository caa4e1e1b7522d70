import { expect, it } from 'vitest'
import type { Messenger } from '../../../lib/broker/messenger.ts'
import { createSessions } from '../../../lib/broker/sessions.ts'
import { createLog } from '../../../lib/log.ts'

/** @param failures number of calls that fail, by client, before one succeeds. */
const start = (
  clients: [string, boolean][],
  failures: Record<string, number> = {},
  atBroker?: [string, boolean][],
) => {
  const calls: string[] = []
  const lines: string[] = []
  const left = { ...failures }
  const messenger = {
    disconnect: async (clientId: string) => {
      calls.push(clientId)
      const more = left[clientId] ?? 0
      left[clientId] = more - 1
      if (more > 0) throw new Error('no broker')
    },
  } as Messenger
  const log = createLog('error', (line) => lines.push(line))
  const sessions = createSessions({
    unreported: (id) => [String(id)],
    clients: async () => new Map(clients),
    atBroker: () => atBroker && new Map(atBroker),
    messenger,
    log,
  })
  const logged = () => {
    log.flush()
    return lines
  }
  return { sessions, calls, logged }
}

it('ends also the sessions of clients that are not connected, and counts the connections', async () => {
  const { sessions, calls } = start([
    ['7-a', true],
    ['7-b', false],
  ])
  expect(await sessions.end(7)).toBe(1)
  expect(calls.sort()).toEqual(['7', '7-a', '7-b'])
})

it('ends a client that the registry does not know yet', async () => {
  const { sessions, calls } = start([])
  expect(await sessions.end(7, '7-new')).toBe(1)
  expect(calls.sort()).toEqual(['7', '7-new'])
})

it('ends clients that only the broker knows, and counts those that are connected there', async () => {
  const clients: [string, boolean][] = [
    ['7-a', false],
    ['7-b', true],
  ]
  const { sessions, calls } = start(clients, {}, [
    ['7-a', true],
    ['7-c', true],
    ['7-d', false],
  ])
  expect(await sessions.end(7)).toBe(2)
  expect(calls.sort()).toEqual(['7', '7-a', '7-b', '7-c', '7-d'])
})

it('counts a client as connected that the registry says is', async () => {
  const { sessions, calls } = start([['7', true]])
  expect(await sessions.end(7)).toBe(1)
  expect(calls).toEqual(['7'])
})

it('tries each client three times', async () => {
  const { sessions, calls, logged } = start([['7-a', true]], { '7-a': 2 })
  expect(await sessions.end(7)).toBe(1)
  expect(calls.filter((id) => id === '7-a')).toHaveLength(3)
  expect(logged()).toEqual([])
})

it('returns null when the broker is unavailable for one client, and still ends the others', async () => {
  const { sessions, calls, logged } = start(
    [
      ['7-a', true],
      ['7-b', true],
    ],
    { '7-a': 9 },
  )
  expect(await sessions.end(7)).toBeNull()
  expect(calls.filter((id) => id === '7-a')).toHaveLength(3)
  expect(calls).toContain('7-b')
  expect(logged()).toHaveLength(1)
  expect(logged()[0]).toContain('mqtt sessions could not be ended')
})
