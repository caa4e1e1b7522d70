/** The client of the package, as an application imports it, against a running server. */
import { answerOf, createClient, RequestError } from 'iotflow-serverless/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'

const adminToken = 'an-admin-token-for-these-tests'
const enrollmentKey = 'an-enrollment-key-of-these-tests'

let server: StandaloneServer
beforeAll(async () => {
  server = await startStandaloneServer({
    settings: {
      ADMIN_TOKEN: adminToken,
      ENROLLMENT_KEY: enrollmentKey,
      OPEN_REGISTRATION: 'false',
      PUBLIC_TELEMETRY_READS: 'false',
    },
  })
})
afterAll(() => server?.stop())

describe('the client', () => {
  it('registers a device, sends its readings, reads them back, and manages it', async () => {
    const url = server.httpUrl
    const installer = createClient({ url, enrollmentKey })
    const body = { name: 'pump-1', device_type: 'pump', location: 'Cellar' }
    const { device } = await answerOf(installer.POST('/api/v1/devices/register', { body }))
    expect(device).toMatchObject({ name: 'pump-1', status: 'active', api_key: expect.any(String) })

    const pump = createClient({ url, apiKey: device.api_key })
    const sent = await answerOf(
      pump.POST('/api/v1/devices/telemetry', {
        body: [
          { ts: Date.now() - 1000, values: { pressure: 2.5, on: true } },
          { ts: Date.now(), values: { pressure: 3.5, 'Druck °C': 21 } },
        ],
      }),
    )
    expect(sent).toMatchObject({ accepted: 2, rejected: [] })
    const path = { id: device.id }
    const { latest_data } = await answerOf(pump.GET('/api/v1/telemetry/{id}/latest', { params: { path } }))
    expect(latest_data).toMatchObject({ pressure: 3.5, on: true, 'Druck °C': 21 })
    const query = { field: 'pressure', aggregation: 'max', window: '1d', start_time: '-2d' } as const
    const { data } = await answerOf(
      pump.GET('/api/v1/telemetry/{id}/aggregated', { params: { path, query } }),
    )
    expect(Math.max(...data.map(({ value }) => Number(value)))).toBe(3.5)
    const csv = await answerOf(
      pump.GET('/api/v1/telemetry/{id}', {
        params: { path, query: { format: 'csv', fields: 'pressure' } },
        parseAs: 'text',
      }),
    )
    expect(csv.split(/\r?\n/)).toHaveLength(4)

    const operator = createClient({ url, adminToken })
    const configuration = { interval: 30, mode: 'eco' }
    await answerOf(
      operator.PUT('/api/v1/admin/devices/{id}/config', { params: { path }, body: { configuration } }),
    )
    const desired = await answerOf(pump.GET('/api/v1/devices/config'))
    expect(desired.configuration).toMatchObject({ interval: { value: 30 }, mode: { value: 'eco' } })
    const { devices } = await answerOf(
      operator.GET('/api/v1/admin/devices', { params: { query: { q: 'pump' } } }),
    )
    expect(devices.map(({ name }) => name)).toEqual(['pump-1'])
    await answerOf(operator.DELETE('/api/v1/admin/devices/{id}', { params: { path } }))
    await expect(answerOf(pump.GET('/api/v1/devices/status'))).rejects.toMatchObject({ status: 401 })
  })

  it('throws what the server says', async () => {
    const stranger = createClient({ url: server.httpUrl })
    const body = { name: '', device_type: 'pump' }
    const refused = await answerOf(stranger.POST('/api/v1/devices/register', { body })).catch(
      (error) => error,
    )
    expect(refused).toBeInstanceOf(RequestError)
    expect(refused).toMatchObject({ name: 'RequestError', status: 401, code: 'UNAUTHORIZED' })
    const installer = createClient({ url: server.httpUrl, enrollmentKey })
    const invalid = await answerOf(installer.POST('/api/v1/devices/register', { body })).catch(
      (error) => error,
    )
    expect(invalid).toMatchObject({ status: 422, code: 'VALIDATION_FAILED' })
    expect(invalid.details.map(({ path }: { path: string }) => path)).toEqual(['name'])
    expect(invalid.requestId).toMatch(/^[0-9a-f]{24}$/)
  })

  it('throws when a proxy answers instead of the server', async () => {
    const fetch = async () => new Response('<h1>Bad Gateway</h1>', { status: 502 })
    const call = createClient({ url: 'http://gateway.example', fetch }).GET('/health')
    await expect(answerOf(call)).rejects.toMatchObject({ status: 502, code: 'HTTP_502' })
  })
})
