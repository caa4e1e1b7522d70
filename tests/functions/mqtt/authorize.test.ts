import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AuthorizerResult } from '../../../lib/mqtt/authorizer.ts'
import { type Layer, openLayer } from '../../support/layer.ts'

let layer: Layer
let device: Awaited<ReturnType<Layer['register']>>
beforeAll(async () => {
  layer = await openLayer()
  device = await layer.register()
})
afterAll(() => layer.close())

const authorize = async (username?: string, password?: string) =>
  (await layer.invoke('mqtt-authorize', {
    protocols: ['mqtt'],
    protocolData: {
      mqtt: {
        clientId: username,
        ...(username === undefined ? {} : { username }),
        ...(password === undefined ? {} : { password: Buffer.from(password).toString('base64') }),
      },
    },
  })) as AuthorizerResult

const setStatus = (id: number, status: string) =>
  layer.call('admin-set-status', 'PUT', `/api/v1/admin/devices/${id}/status`, {
    admin: true,
    body: { status },
  })

describe('a client with the id and the key of a device', () => {
  it('may connect, under policies that name this device alone', async () => {
    const result = await authorize(String(device.id), device.key)
    expect(result).toMatchObject({ isAuthenticated: true, principalId: String(device.id) })
    const topics = JSON.stringify(result.policyDocuments).match(/iotflow\/devices\/[^/"]+/g)
    expect(new Set(topics)).toEqual(new Set([`iotflow/devices/${device.id}`]))
    expect(JSON.stringify(result)).not.toContain(device.key)
  })

  it('may name the authorizer behind its user name', async () => {
    const named = `${device.id}?x-amz-customauthorizer-name=iotflow-dev`
    expect((await authorize(named, device.key)).principalId).toBe(String(device.id))
  })

  it('is refused while the device is inactive', async () => {
    const { id, key } = await layer.register()
    await setStatus(id, 'inactive')
    expect((await authorize(String(id), key)).isAuthenticated).toBe(false)
    await setStatus(id, 'active')
    expect((await authorize(String(id), key)).isAuthenticated).toBe(true)
  })
})

it.each<[string, () => [string | undefined, string?]]>([
  ['no user name', () => [undefined, device.key]],
  ['no password', () => [String(device.id)]],
  ["another device's id", () => [String(device.id + 1), device.key]],
  ['a wrong key', () => [String(device.id), 'x'.repeat(32)]],
  ['an id that is none', () => [`0${device.id}`, device.key]],
  ['something else behind its id', () => [`${device.id}?name=1`, device.key]],
  ['SQL', () => [`${device.id} OR 1=1`, device.key]],
])('a client with %s gets nothing', async (_what, credentials) => {
  expect(await authorize(...credentials())).toMatchObject({ isAuthenticated: false, policyDocuments: [] })
})
