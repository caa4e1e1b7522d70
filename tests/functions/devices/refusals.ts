/** Cases that every function for devices must pass: it answers active devices only. */
import { expect, it } from 'vitest'
import type { Answer, CallOptions, TestFunctions } from '../../support/functions.ts'

/** @param call a request that succeeds with the key of a device. */
export function itIsForActiveDevices(
  functions: () => TestFunctions,
  call: (options: CallOptions) => Promise<Answer>,
) {
  it.each<[string, CallOptions]>([
    ['no key', {}],
    ['an unknown key', { key: 'x'.repeat(32) }],
    ['SQL as the key', { key: "' or 1=1 --" }],
    ['the admin token', { admin: true }],
  ])('refuses a request with %s', async (_what, options) => {
    const answer = await call(options)
    expect([answer.status, answer.json.error.code]).toEqual([401, 'UNAUTHORIZED'])
    expect(answer.headers.get('www-authenticate')).toBe('Bearer')
  })

  it('refuses an inactive device, and accepts a device in maintenance', async () => {
    const { id, key } = await functions().register()
    const become = (status: string) =>
      functions().call('admin-set-status', 'PUT', `/api/v1/admin/devices/${id}/status`, {
        admin: true,
        body: { status },
      })
    await become('inactive')
    const answer = await call({ key })
    expect([answer.status, answer.json.error.code]).toEqual([403, 'FORBIDDEN'])
    await become('maintenance')
    expect((await call({ key })).status).toBe(200)
  })
}
