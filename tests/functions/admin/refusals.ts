/** Cases that every admin function must pass: it answers the admin token only. */
import { describe, expect, it } from 'vitest'
import type { Answer, CallOptions, TestFunctions } from '../../support/functions.ts'

/** @param call a request that succeeds with the admin token, by `status`. */
export function itIsForAdminsOnly(
  functions: () => TestFunctions,
  call: (options: CallOptions) => Promise<Answer>,
  status = 200,
) {
  describe('who may call', () => {
    it.each<[string, CallOptions]>([
      ['no credential', {}],
      ['a wrong token', { headers: { Authorization: 'Bearer wrong-token-of-nobody-0123456789' } }],
      ['an empty token', { headers: { Authorization: 'Bearer ' } }],
      ['another scheme', { headers: { Authorization: 'Basic YWRtaW46YWRtaW4=' } }],
    ])('refuses a request with %s', async (_what, options) => {
      const answer = await call(options)
      expect([answer.status, answer.json.error.code]).toEqual([401, 'UNAUTHORIZED'])
      expect(answer.headers.get('www-authenticate')).toBe('Bearer')
      expect(answer.json.error.request_id).toBe(answer.headers.get('x-request-id'))
    })

    it('refuses the API key of a device', async () => {
      const { key } = await functions().register()
      const answer = await call({ key })
      expect([answer.status, answer.json.error.code]).toEqual([401, 'UNAUTHORIZED'])
    })

    it("accepts the predecessor's `Authorization: admin <token>`", async () => {
      const answer = await call({ headers: { Authorization: `admin ${functions().adminToken}` } })
      expect(answer.status).toBe(status)
    })
  })
}

/** @param call a request to the same function for another device id. */
export function itNeedsAKnownDevice(call: (id: string) => Promise<Answer>) {
  it.each(['999999', 'abc', '0', '-1', '1.5', '01', '9999999999999999'])(
    'answers 404 for the device id %s',
    async (id) => {
      const answer = await call(id)
      expect([answer.status, answer.json.error]).toEqual([
        404,
        { code: 'NOT_FOUND', message: 'There is no such device.', request_id: expect.any(String) },
      ])
    },
  )
}
