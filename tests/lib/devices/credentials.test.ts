import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { digestKey, keyPrefix, looksLikeKey, mintKey } from '../../../lib/devices/credentials.ts'
import { noon, pump, startDevices } from '../../support/devices.ts'
import { openFunctions } from '../../support/functions.ts'
import { describeRegistry } from '../../support/registry.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const letters = 'abcdefghijklmnopqrstuvwxyz'
const alphabet = new Set(`${letters}${letters.toUpperCase()}0123456789`)
const length = fc.integer({ min: 24, max: 64 })

describe('keys', () => {
  it('property: have the requested length and look like keys', () => {
    fc.assert(
      fc.property(length, (n) => {
        const key = mintKey(n)
        expect(key).toHaveLength(n)
        expect(looksLikeKey(key)).toBe(true)
      }),
      { numRuns: 1000 },
    )
  })

  it('property: have 24 to 64 letters and digits, and other text does not look like a key', () => {
    const character = fc.oneof({ weight: 200, arbitrary: fc.constantFrom(...alphabet) }, fc.string())
    const text = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 70 }),
      fc.array(character, { minLength: 20, maxLength: 70 }).map((parts) => parts.join('')),
      fc.constantFrom(23, 24, 64, 65).map(mintKey),
      length.chain((n) => fc.constantFrom('\n', ' ', '\0', 'é', '-').map((end) => mintKey(n) + end)),
    )
    fc.assert(
      fc.property(text, (given) => {
        const isKey = given.length >= 24 && given.length <= 64 && [...given].every((c) => alphabet.has(c))
        expect(looksLikeKey(given)).toBe(isKey)
      }),
      { numRuns: 2000 },
    )
  })

  it('are drawn evenly from the whole alphabet', () => {
    const drawn = Array.from({ length: 5000 }, () => mintKey(40)).join('')
    const counts = new Map<string, number>()
    for (const c of drawn) counts.set(c, (counts.get(c) ?? 0) + 1)
    expect(counts.size).toBe(62)
    // All bytes modulo 62 would give the first eight letters a share of 0.156 instead of 0.129; the noise is 0.001.
    const first = [...'ABCDEFGH'].reduce((sum, c) => sum + (counts.get(c) ?? 0), 0)
    expect(Math.abs(first / drawn.length - 8 / 62)).toBeLessThan(0.01)
  })

  it('are stored as SHA-256 and told apart by six characters', () => {
    expect(digestKey('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
    expect(keyPrefix('abcdefgh')).toBe('abcdef')
  })

  it('are in no file of the data folder, except for their prefixes', async () => {
    const folder = await temporaryFolder()
    const functions = await openFunctions({ DATA_DIR: folder.path })
    const bytes = async () => {
      const entries = await readdir(folder.path, { recursive: true, withFileTypes: true })
      const files = entries.filter((entry) => entry.isFile())
      return Buffer.concat(await Promise.all(files.map((file) => readFile(join(file.parentPath, file.name)))))
    }
    const { id, key, name } = await functions.register()
    const own = await functions.call('devices-rotate-key', 'POST', '/api/v1/devices/rotate-key', { key })
    const admins = await functions.call(
      'admin-rotate-key',
      'POST',
      `/api/v1/admin/devices/${id}/rotate-key`,
      {
        admin: true,
      },
    )
    const keys: string[] = [key, own.json.api_key, admins.json.api_key]
    const sent = await functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', {
      key: admins.json.api_key,
      body: { api_key: admins.json.api_key, marked: 'by the test' },
    })
    expect(sent.status).toBe(201)
    const whileOpen = await bytes()
    await functions.close()
    for (const kept of [whileOpen, await bytes()]) {
      for (const what of [name, 'by the test', ...keys.map(keyPrefix)]) expect(kept.includes(what)).toBe(true)
      for (const one of keys) {
        expect(kept.includes(one.slice(0, 7))).toBe(false)
        expect(kept.includes(one.slice(-10))).toBe(false)
      }
    }
    await folder.remove()
  })
})

describeRegistry('rotation and revocation', (place) => {
  it('leave two live keys, however many rotations run at once', async () => {
    const { clock, connect } = await startDevices(place)
    const services = [await connect(), await connect()] as const
    const { device, apiKey } = await services[0].devices.register(pump)
    const rotations = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        services[i % 2 ? 1 : 0].devices.rotateKey(device.id, { graceS: 60, usedKey: apiKey, by: 'device' }),
      ),
    )
    const live = async () => {
      const keys = [apiKey, ...rotations.map((rotation) => rotation.apiKey)]
      const tried = await Promise.allSettled(keys.map((key) => services[0].devices.authenticate(key)))
      return keys.filter((_, i) => tried[i]?.status === 'fulfilled')
    }
    const [asked, minted] = await live()
    expect([asked, await live()]).toEqual([apiKey, [apiKey, minted]])
    clock.now += 60_000
    expect(await live()).toEqual([minted])
  })

  it('say when the previous key ends, and whether one ended at once', async () => {
    const { connect } = await startDevices(place)
    const { devices } = await connect()
    const { id } = (await devices.register(pump)).device
    const rotate = async (graceS: number) => {
      const { previousKeyExpiresAt, ended } = await devices.rotateKey(id, { graceS, by: 'admin' })
      return { previousKeyExpiresAt, ended }
    }
    expect(await rotate(60)).toEqual({ previousKeyExpiresAt: noon + 60_000, ended: false })
    expect(await rotate(3600)).toEqual({ previousKeyExpiresAt: noon + 3_600_000, ended: true })
    expect(await rotate(0)).toEqual({ previousKeyExpiresAt: noon, ended: true })
    expect(await devices.revokeKeys(id)).toBe(2)
    expect(await devices.revokeKeys(id)).toBe(0)
    expect(await rotate(60)).toEqual({ previousKeyExpiresAt: null, ended: false })
    await expect(devices.rotateKey(999_999, { graceS: 0, by: 'admin' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    })
    await expect(devices.revokeKeys(999_999)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})

describeRegistry('the keys of a device', (place) => {
  it('fill no table, however often it changes its key', async () => {
    const { connect } = await startDevices(place)
    const { devices, registry } = await connect()
    const { device } = await devices.register(pump)
    for (let n = 0; n < 210; n += 1) await devices.rotateKey(device.id, { graceS: 60, by: 'device' })
    const [found] = await registry.db.all<{ keys: number; events: number }>(
      sql`select (select count(*) from credentials) as keys,
        (select count(*) from events where kind = 'key_rotated') as events`,
    )
    expect(found).toEqual({ keys: 100, events: 200 })
  })
})
