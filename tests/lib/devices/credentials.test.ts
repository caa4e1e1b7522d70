import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { digestKey, keyPrefix, looksLikeKey, mintKey } from '../../../lib/devices/credentials.ts'
import { openLayer } from '../../support/layer.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const letters = 'abcdefghijklmnopqrstuvwxyz'
const alphabet = new Set(`${letters}${letters.toUpperCase()}0123456789`)
const length = fc.integer({ min: 24, max: 64 })

describe('keys', () => {
  it('property: have the length that is asked for and look like keys', () => {
    fc.assert(
      fc.property(length, (n) => {
        const key = mintKey(n)
        expect(key).toHaveLength(n)
        expect(looksLikeKey(key)).toBe(true)
      }),
      { numRuns: 1000 },
    )
  })

  it('property: are 24 to 64 letters and digits, and nothing else is', () => {
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
    // Bytes taken modulo 62 as they come would give the first eight letters 0.156 instead of 0.129; noise is 0.001.
    const first = [...'ABCDEFGH'].reduce((sum, c) => sum + (counts.get(c) ?? 0), 0)
    expect(Math.abs(first / drawn.length - 8 / 62)).toBeLessThan(0.01)
  })

  it('are known by SHA-256 and told apart by six characters', () => {
    expect(digestKey('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
    expect(keyPrefix('abcdefgh')).toBe('abcdef')
  })

  it('are in no file of the data folder, but for their prefixes', async () => {
    const folder = await temporaryFolder()
    const layer = await openLayer({ DATA_DIR: folder.path })
    const bytes = async () => {
      const entries = await readdir(folder.path, { recursive: true, withFileTypes: true })
      const files = entries.filter((entry) => entry.isFile())
      return Buffer.concat(await Promise.all(files.map((file) => readFile(join(file.parentPath, file.name)))))
    }
    const { id, key, name } = await layer.register()
    const own = await layer.call('devices-rotate-key', 'POST', '/api/v1/devices/rotate-key', { key })
    const admins = await layer.call('admin-rotate-key', 'POST', `/api/v1/admin/devices/${id}/rotate-key`, {
      admin: true,
    })
    const keys: string[] = [key, own.json.api_key, admins.json.api_key]
    const sent = await layer.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', {
      key: admins.json.api_key,
      body: { api_key: admins.json.api_key, marked: 'by the test' },
    })
    expect(sent.status).toBe(201)
    const whileOpen = await bytes()
    await layer.close()
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
