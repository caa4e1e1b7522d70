/** Cases that every function that reads telemetry must pass while `PUBLIC_TELEMETRY_READS` is false. */
import { describe, expect, it } from 'vitest'
import type { Answer, CallOptions, TestFunctions } from '../../support/functions.ts'

/** @param read a request for the device with this id, which has telemetry. */
export function itIsForReaders(
  functions: () => TestFunctions,
  read: (id: number | string, options: CallOptions) => Promise<Answer>,
) {
  const withTelemetry = async () => {
    const device = await functions().register()
    const body = { data: { temperature: 21.5 } }
    await functions().call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', { key: device.key, body })
    return device
  }

  describe('who may read', () => {
    it('answers the device itself and the admin', async () => {
      const { id, key } = await withTelemetry()
      expect((await read(id, { key })).status).toBe(200)
      expect((await read(id, { admin: true })).status).toBe(200)
    })

    it('answers another device as if there were no such device', async () => {
      const { id } = await withTelemetry()
      const other = await functions().register()
      const [answer, unknown] = [await read(id, { key: other.key }), await read(999_999, { key: other.key })]
      expect([answer.status, answer.json.error.code, answer.json.error.message]).toEqual([
        404,
        'NOT_FOUND',
        'There is no such device.',
      ])
      expect([unknown.status, unknown.json.error.message]).toEqual([404, answer.json.error.message])
    })

    it.each<[string, CallOptions]>([
      ['no credential', {}],
      ['an unknown key', { key: 'x'.repeat(32) }],
      ['a wrong admin token', { headers: { Authorization: 'Bearer wrong-token-of-nobody-0123456789' } }],
    ])('refuses a request with %s', async (_what, options) => {
      const { id } = await withTelemetry()
      const answer = await read(id, options)
      expect([answer.status, answer.json.error.code]).toEqual([401, 'UNAUTHORIZED'])
    })

    it('refuses the key of an inactive device with 403', async () => {
      const { id, key } = await withTelemetry()
      await functions().call('admin-set-status', 'PUT', `/api/v1/admin/devices/${id}/status`, {
        admin: true,
        body: { status: 'inactive' },
      })
      expect((await read(id, { key })).status).toBe(403)
      expect((await read(id, { admin: true })).status).toBe(200)
    })

    it.each(['999999', 'abc', '0', '1.5', '-1'])('answers 404 for the device id %s', async (id) => {
      const answer = await read(id, { admin: true })
      expect([answer.status, answer.json.error.code]).toEqual([404, 'NOT_FOUND'])
    })
  })
}
