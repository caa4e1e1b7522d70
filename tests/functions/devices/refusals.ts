/** Who every function of a device turns away, whatever it does. */
import { expect, it } from 'vitest'
import type { Answer, CallOptions, Layer } from '../../support/layer.ts'

/** @param call a request that a device of its own right would get an answer to. */
export function itIsForActiveDevices(layer: () => Layer, call: (options: CallOptions) => Promise<Answer>) {
  it.each<[string, CallOptions]>([
    ['no key', {}],
    ['a key of nobody', { key: 'x'.repeat(32) }],
    ['what is no key', { key: "' or 1=1 --" }],
    ['the admin token', { admin: true }],
  ])('with %s is refused', async (_what, options) => {
    const answer = await call(options)
    expect([answer.status, answer.json.error.code]).toEqual([401, 'UNAUTHORIZED'])
    expect(answer.headers.get('www-authenticate')).toBe('Bearer')
  })

  it('of an inactive device is refused, of one in maintenance it is not', async () => {
    const { id, key } = await layer().register()
    const become = (status: string) =>
      layer().call('admin-set-status', 'PUT', `/api/v1/admin/devices/${id}/status`, {
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
