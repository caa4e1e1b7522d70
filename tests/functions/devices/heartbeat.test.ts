import type { APIGatewayProxyEventV2, Context } from 'aws-lambda'
import { eq } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { handler } from '../../../functions/devices/heartbeat.ts'
import { credentials, devices } from '../../../lib/registry/schema.ts'
import * as runtime from '../../../lib/runtime.ts'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForActiveDevices } from './refusals.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(noon)
  functions = await openFunctions({ OFFLINE_AFTER_S: '120' })
})
beforeEach(() => {
  vi.setSystemTime(noon)
})
afterAll(async () => {
  await functions.close()
  vi.useRealTimers()
})

const heartbeat = (options: CallOptions) =>
  functions.call('devices-heartbeat', 'POST', '/api/v1/devices/heartbeat', options)

const status = async (key: string) =>
  (await functions.call('devices-status', 'GET', '/api/v1/devices/status', { key })).json.device

describe('a heartbeat', () => {
  itIsForActiveDevices(() => functions, heartbeat)

  it('is in the registry before the Lambda answers, because it may be stopped afterwards', async () => {
    const { id, key } = await functions.register()
    vi.setSystemTime(noon + 1000)
    const event = {
      version: '2.0',
      routeKey: 'POST /api/v1/devices/heartbeat',
      rawPath: '/api/v1/devices/heartbeat',
      rawQueryString: '',
      headers: { 'x-api-key': key, host: 'example' },
      requestContext: {
        domainName: 'example',
        http: { method: 'POST', path: '/api/v1/devices/heartbeat', sourceIp: '192.0.2.1' },
      },
      isBase64Encoded: false,
    }
    const answer = await handler(event as unknown as APIGatewayProxyEventV2, {} as Context)
    expect(answer).toMatchObject({ statusCode: 200 })
    const { db } = await runtime.registry()
    const [[row], [credential]] = await Promise.all([
      db.select().from(devices).where(eq(devices.id, id)),
      db.select().from(credentials).where(eq(credentials.deviceId, id)),
    ])
    expect([row?.lastSeenAt, credential?.lastUsedAt]).toEqual([noon + 1000, noon + 1000])
  })

  it('is answered with the device and the time', async () => {
    const { id, key } = await functions.register()
    vi.setSystemTime(noon + 250)
    const answer = await heartbeat({ key })
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      message: 'Heartbeat received',
      device_id: id,
      timestamp: '2026-03-01T12:00:00.250Z',
      status: 'online',
    })
  })

  it('makes the device online for the time of OFFLINE_AFTER_S', async () => {
    const { key } = await functions.register()
    expect(await status(key)).toMatchObject({ is_online: false, last_seen: null })
    await heartbeat({ key })
    vi.setSystemTime(noon + 119_999)
    expect(await status(key)).toMatchObject({ is_online: true, last_seen: '2026-03-01T12:00:00Z' })
    vi.setSystemTime(noon + 120_000)
    expect(await status(key)).toMatchObject({ is_online: false, last_seen: '2026-03-01T12:00:00Z' })
  })

  it('does not make another device online', async () => {
    const one = await functions.register()
    const other = await functions.register()
    await heartbeat({ key: one.key })
    expect(await status(other.key)).toMatchObject({ is_online: false, last_seen: null })
  })

  it.each([
    ['broken', { body: '{"status":' }],
    ['of no JSON', { body: 'alive', headers: { 'Content-Type': 'text/plain' } }],
  ])('is accepted with a body that is %s, because the body is not read', async (_what, options) => {
    const { key } = await functions.register()
    expect((await heartbeat({ key, ...options })).status).toBe(200)
  })
})
