import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { telemetryStatus } from '../../../functions/telemetry/status.ts'
import { createLog } from '../../../lib/log.ts'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')
let clock = noon

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(noon)
  // Beyond loopback the counts are shown to the admin only.
  functions = await openFunctions({ HOST: '0.0.0.0' })
})
beforeEach(() => {
  clock += 15_000
  vi.setSystemTime(clock)
})
afterAll(async () => {
  await functions.close()
  vi.useRealTimers()
})

const status = (options: CallOptions = {}) =>
  functions.call('telemetry-status', 'GET', '/api/v1/telemetry/status', options)

const send = (key: string, body: unknown) =>
  functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', { key, body })

describe('the status of telemetry', () => {
  it('is answered to anybody, without the counts', async () => {
    const answer = await status()
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'healthy',
      backend: 'embedded',
      influxdb_available: false,
      devices_with_telemetry: 0,
    })
  })

  it('shows the counts of all devices to the admin', async () => {
    const [one, two] = [await functions.register(), await functions.register()]
    await send(one.key, { data: { t: 1 } })
    await send(two.key, '{"t":')
    const answer = await status({ admin: true })
    expect(answer.json).toEqual({
      status: 'healthy',
      backend: 'embedded',
      influxdb_available: false,
      devices_with_telemetry: 1,
      accounting: { received: 2, stored: 1, spooled: 0, rejected: 1, duplicates: 0, warned: 0, exact: true },
    })
  })

  it('asks the store at most every 15 seconds', async () => {
    const { devices_with_telemetry: before } = (await status()).json
    const { key } = await functions.register()
    await send(key, { data: { t: 1 } })
    vi.setSystemTime(clock + 14_999)
    expect((await status()).json.devices_with_telemetry).toBe(before)
    vi.setSystemTime(clock + 15_000)
    expect((await status()).json.devices_with_telemetry).toBe(before + 1)
    clock += 15_000
  })

  it('refuses a wrong admin token instead of hiding the counts', async () => {
    const answer = await status({ headers: { Authorization: 'Bearer wrong-token-of-nobody-0123456789' } })
    expect([answer.status, answer.json.error.code]).toEqual([401, 'UNAUTHORIZED'])
  })

  it('shows the counts on loopback only to callers who name a loopback host', async () => {
    const telemetry = {
      backend: 'embedded',
      check: async () => {},
      countDevices: async () => 0,
      account: async () => ({ received: 0, stored: 0, spooled: 0, rejected: 0, duplicates: 0, warned: 0 }),
      spool: async () => undefined,
    } as const
    const access = { admit: () => async () => undefined, isAdmin: async () => false } as never
    const app = telemetryStatus({
      log: createLog('silent'),
      access,
      telemetry,
      influx: undefined,
      exact: true,
      showAccounts: true,
    })
    const shown = async (host: string) => {
      const answer = await app.request('/api/v1/telemetry/status', { headers: { Host: host } })
      return Object.hasOwn((await answer.json()) as object, 'accounting')
    }
    expect([await shown('localhost:5000'), await shown('evil.example')]).toEqual([true, false])
  })

  it('does not show the counts to a device', async () => {
    const { key } = await functions.register()
    expect((await status({ key })).json.accounting).toBeUndefined()
  })
})
