import { beforeEach, describe, expect, it } from 'vitest'
import { recordPresence } from '../../../functions/mqtt/presence.ts'
import type { BrokerKind } from '../../../lib/broker/address.ts'
import { createLog } from '../../../lib/log.ts'
import { ClientIds } from '../../../lib/mqtt/client-ids.ts'
import { defaultTopics } from '../../../lib/mqtt/topics.ts'

/** What presence answers to a session event, and the clients whose connection was ended. */
let mayConnect: boolean
let ended: (readonly [number, string | undefined])[]
let reported: string[]
let sessions: string[]
let touched: number
let delivered: unknown[]
beforeEach(() => {
  reported = []
  sessions = []
  touched = 0
  mayConnect = true
  ended = []
  delivered = []
})

const recordAt = (brokerKind: BrokerKind) =>
  recordPresence({
    topics: defaultTopics,
    clientIds: new ClientIds(defaultTopics.root, brokerKind === 'aws-iot' ? 'prod' : undefined),
    brokerKind,
    commands: {
      deliver: async (deviceIds, { kind }) => void delivered.push([...deviceIds, kind]),
    },
    log: createLog('silent'),
    devices: { touch: () => touched++ },
    presence: {
      session: async ({ clientId }: { clientId: string }) => {
        sessions.push(clientId)
        return mayConnect
      },
      report: async ({ status }: { status: string }) => reported.push(status),
    } as unknown as Parameters<typeof recordPresence>[0]['presence'],
    sessions: {
      end: async (deviceId, clientId) => {
        ended.push([deviceId, clientId])
        return 1
      },
    },
  })
const record = recordAt('embedded')

const tell = (eventType: 'connected' | 'disconnected', clientId = '7-a', to = record) => {
  const event = {
    clientId,
    timestamp: Date.now(),
    eventType,
    sessionIdentifier: 's',
    principalIdentifier: '7',
    versionNumber: 1,
  }
  return to({
    payload: Buffer.from(JSON.stringify(event)).toString('base64'),
    topic: `$aws/events/presence/${eventType}/${clientId}`,
    client_id: clientId,
    received_at: Date.now(),
  })
}

describe('a client that connects', () => {
  it('stays while its device may connect', async () => {
    await tell('connected')
    expect(ended).toEqual([])
  })

  it('is ended when its device may not', async () => {
    mayConnect = false
    await tell('connected')
    expect(ended).toEqual([[7, '7-a']])
  })

  it('is not ended again when it disconnects', async () => {
    mayConnect = false
    await tell('disconnected')
    expect(ended).toEqual([])
  })
})

describe('a client of another stage of the AWS account', () => {
  const recordAws = recordAt('aws-iot')

  it.each(['iotflow-dev-7', 'iotflow-staging-device-7'])(
    '%s is never ended, and is no session',
    async (id) => {
      mayConnect = false
      await tell('connected', id, recordAws)
      expect(ended).toEqual([])
      expect(sessions).toEqual([])
    },
  )

  it('leaves those of this stage as they are', async () => {
    await tell('connected', 'esp32_7', recordAws)
    expect(sessions).toEqual(['esp32_7'])
  })
})

describe('a status message', () => {
  const send = (topic: string, payload: string | Buffer, to = record) =>
    to({
      payload: Buffer.from(payload).toString('base64'),
      topic: `iotflow/devices/7/${topic}`,
      client_id: '7-a',
      received_at: Date.now(),
    })

  it.each<[string, string, string[]]>([
    ['status/online', '{"status":"online"}', ['online']],
    ['status/online', 'whatever', ['online']],
    ['status/online', '{"status":"offline"}', ['offline']],
    ['status/offline', '{"status":"online"}', ['online']],
    ['status/offline', '{"reason":"lost"}', ['offline']],
    ['status', '{"status":"online","rssi":-60}', ['online']],
    ['status', '{"status":"Offline"}', ['offline']],
    ['status', 'online', ['online']],
    ['status', '"offline"', ['offline']],
    ['status', ' OFFLINE\n', ['offline']],
    ['status', 'offline\0', ['offline']],
    ['status', '\uFEFF{"status":"offline"}', ['offline']],
    ['status', '{"status":"offline"}\0\0\0', ['offline']],
    ['status', '{"status":"updating"}', []],
    ['status', '{"battery":3}', []],
    ['status', '{"status":', []],
    ['status', '', []],
    ['status/online', '', []],
    ['status/heartbeat', '{"status":"online"}', []],
    ['status/heartbeat', '{"status":"offline"}', ['offline']],
    ['status/heartbeat', '', []],
  ])('on %s with %j reports %j', async (topic, payload, expected) => {
    await send(topic, payload)
    expect(reported).toEqual(expected)
    const isOffline = expected[0] === 'offline' || (expected.length === 0 && topic.endsWith('offline'))
    expect(touched).toBe(isOffline ? 0 : 1)
  })

  it.each<[string, string, string | undefined]>([
    ['status/online', '{}', 'online'],
    ['status', 'online', 'online'],
    ['status/heartbeat', '', 'heartbeat'],
    ['status/heartbeat', 'online', 'heartbeat'],
    ['status', 'heartbeat', 'heartbeat'],
    ['status/online', '', undefined],
    ['status/offline', '{}', undefined],
  ])('on %s with %j brings commands at a Mosquitto: %s', async (topic, payload, occasion) => {
    await send(topic, payload, recordAt('mosquitto'))
    expect(delivered).toEqual(occasion === undefined ? [] : [[7, occasion]])
    delivered = []
    await send(topic, payload)
    expect(delivered).toEqual([])
  })

  // To look for their end from each of the blanks would take longer than a test may.
  it('that is as long as a message may be is read at once', async () => {
    await send('status/offline', `${' '.repeat(128 * 1024 - 1)}x`)
    expect(reported).toEqual(['offline'])
  })

  it('that is no text counts by its topic', async () => {
    await send('status/offline', Buffer.from([0xff, 0xfe, 0x00]))
    expect(reported).toEqual(['offline'])
  })
})

it.each(['esp32_7', 'iotflow-device-7-boot3'])(
  'the session of the client %j is one of device 7',
  async (clientId) => {
    mayConnect = false
    await tell('connected', clientId)
    expect(ended).toEqual([[7, clientId]])
  },
)

it('the session of a client that is no device is ignored', async () => {
  mayConnect = false
  await tell('connected', 'iotflow-dev-sensor')
  expect(ended).toEqual([])
})
