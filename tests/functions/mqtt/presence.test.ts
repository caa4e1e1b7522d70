import { beforeEach, describe, expect, it } from 'vitest'
import { recordPresence } from '../../../functions/mqtt/presence.ts'
import type { Credential } from '../../../lib/devices/devices.ts'
import { createLog } from '../../../lib/log.ts'

const key = (fields: Partial<Credential> = {}): Credential => ({
  keyPrefix: 'abcdef',
  createdAt: 0,
  expiresAt: null,
  lastUsedAt: null,
  revokedAt: null,
  ...fields,
})

/** What the registry says by the time of the event, and the clients that were ended. */
const state = { status: 'active' as string | undefined, keys: [] as Credential[] }
let ended: (readonly [number, string | undefined])[]
beforeEach(() => {
  state.status = 'active'
  state.keys = [key()]
  ended = []
})

const record = recordPresence({
  log: createLog('silent'),
  devices: {
    find: async () => (state.status === undefined ? undefined : { status: state.status }),
    credentials: async () => state.keys,
    seen: () => {},
  } as unknown as Parameters<typeof recordPresence>[0]['devices'],
  presence: { session: async () => {} } as unknown as Parameters<typeof recordPresence>[0]['presence'],
  sessions: {
    end: async (deviceId, clientId) => {
      ended.push([deviceId, clientId])
      return 1
    },
  },
})

const tell = (eventType: 'connected' | 'disconnected') => {
  const event = {
    clientId: '7-a',
    timestamp: Date.now(),
    eventType,
    sessionIdentifier: 's',
    principalIdentifier: '7',
    versionNumber: 1,
  }
  return record({
    payload: Buffer.from(JSON.stringify(event)).toString('base64'),
    topic: `$aws/events/presence/${eventType}/7-a`,
    client_id: '7-a',
    received_at: Date.now(),
  })
}

describe('a client that connects', () => {
  it('stays while its device has a key', async () => {
    state.keys = [key({ revokedAt: 1 }), key({ expiresAt: Date.now() + 60_000 })]
    await tell('connected')
    expect(ended).toEqual([])
  })

  it.each<[string, () => void]>([
    ['is gone', () => Object.assign(state, { status: undefined })],
    ['is inactive', () => Object.assign(state, { status: 'inactive' })],
    ['has no key left', () => Object.assign(state, { keys: [key({ revokedAt: 1 }), key({ expiresAt: 1 })] })],
  ])('is ended when its device %s', async (_what, lose) => {
    lose()
    await tell('connected')
    expect(ended).toEqual([[7, '7-a']])
  })

  it('is not ended once more when it goes', async () => {
    state.status = 'inactive'
    await tell('disconnected')
    expect(ended).toEqual([])
  })
})
