import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Device } from '../../../lib/devices/device.ts'
import { DeviceCache } from '../../../lib/devices/device-cache.ts'

const deviceOf = (id: number, version = 0) => ({ id, name: `version ${version}` }) as Device
const keyOf = (id: number, version = 0) => ({
  ...{ device: deviceOf(id, version), credentialId: id, expiresAt: null, lastUsedAt: null },
})

it('keeps a row that was read while another device changed, and none of a device that changed meanwhile', () => {
  const cache = new DeviceCache({ cacheMs: 1000, now: () => 0 })
  const { generation } = cache
  cache.change(1, { name: 'new' })
  cache.remove(2)
  for (const id of [1, 2, 3]) {
    cache.addDevice(deviceOf(id), generation)
    cache.addKey(`key ${id}`, keyOf(id), generation)
  }
  expect([1, 2, 3].map((id) => cache.device(id) !== undefined)).toEqual([false, false, true])
  expect([1, 2, 3].map((id) => cache.key(`key ${id}`) !== undefined)).toEqual([false, false, true])
  cache.addDevice(deviceOf(1), cache.generation)
  expect(cache.device(1)).toEqual(deviceOf(1))
})

it('keeps no row from before more changes than it remembers', () => {
  const cache = new DeviceCache({ cacheMs: 1000, now: () => 0 })
  const { generation } = cache
  cache.remove(1)
  for (let id = 2; id < 20_000; id += 1) cache.remove(id)
  cache.addDevice(deviceOf(1), generation)
  cache.addDevice(deviceOf(50_000), generation)
  expect([cache.device(1), cache.device(50_000)]).toEqual([undefined, undefined])
  cache.addDevice(deviceOf(1), cache.generation)
  expect(cache.device(1)).toBeDefined()
})

it('keeps nothing where it is off', () => {
  const cache = new DeviceCache({ cacheMs: 0, now: () => 0 })
  cache.addDevice(deviceOf(1), cache.generation)
  cache.addKey('key', keyOf(1), cache.generation)
  expect([cache.device(1), cache.key('key')]).toEqual([undefined, undefined])
})

it('never shows an older row than the last change left, whatever is read and changed at the same time', () => {
  const id = fc.nat(3)
  const step = fc.oneof(
    fc.record({ read: id }),
    fc.record({ end: fc.nat(5) }),
    fc.record({ change: id }),
    fc.record({ remove: id }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const cache = new DeviceCache({ cacheMs: 1000, now: () => 0 })
      const versions = [0, 0, 0, 0]
      const reads: { id: number; version: number; generation: number }[] = []
      for (const one of steps) {
        if ('read' in one)
          reads.push({ id: one.read, version: versions[one.read] ?? 0, generation: cache.generation })
        else if ('end' in one) {
          const [read] = reads.splice(one.end, 1)
          if (read === undefined) continue
          cache.addDevice(deviceOf(read.id, read.version), read.generation)
          cache.addKey(`key ${read.id}`, keyOf(read.id, read.version), read.generation)
        } else if ('change' in one) {
          const version = (versions[one.change] ?? 0) + 1
          versions[one.change] = version
          cache.change(one.change, { name: `version ${version}` })
        } else {
          versions[one.remove] = (versions[one.remove] ?? 0) + 1
          cache.remove(one.remove)
        }
        for (const [at, version] of versions.entries()) {
          const shown = [cache.device(at), cache.key(`key ${at}`)?.device].filter((device) => device)
          for (const device of shown) expect(device).toEqual(deviceOf(at, version))
        }
      }
    }),
  )
})
