import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Enrolment, type EnrolmentOptions, type NewDevice } from '../../simulators/enrolment.ts'
import { HttpClient } from '../../simulators/http-client.ts'
import { KeyFile } from '../../simulators/key-file.ts'
import { TimerQueue } from '../../simulators/timer-queue.ts'
import { type FakeServer, type FakeServerOptions, startFakeServer } from './fake-server.ts'

let folder: string
let file: string
let server: FakeServer
const client = new HttpClient(new TimerQueue())

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'simulator-'))
  file = join(folder, 'sub', 'keys.json')
})
afterEach(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

const devices = (count: number): NewDevice[] =>
  Array.from({ length: count }, (_, n) => ({
    name: `sim-camera-${n + 1}`,
    type: 'camera',
    description: 'Camera',
    location: 'Gate',
  }))

const enrol = async (count: number, options: Partial<EnrolmentOptions> = {}) => {
  const keyFile = new KeyFile(file, server.url)
  const enrolment = new Enrolment({ url: server.url, client, keyFile, over: () => false, ...options })
  return enrolment.enrol(devices(count))
}
const start = async (options: FakeServerOptions = {}) => {
  server = await startFakeServer(options)
}
const calls = (call: string) => server.calls.get(call) ?? 0
const adminToken = 'token-of-the-operators-0123'

describe('devices get their keys', () => {
  it('by registration, one by one, in their order', async () => {
    await start()
    const found = await enrol(100)
    expect(found.map(({ name }) => name)).toEqual(devices(100).map(({ name }) => name))
    expect(calls('POST /api/v1/devices/register')).toBe(100)
    for (const { name, id } of found) expect(server.names[id - 1]).toBe(name)
  })

  it('by import with the admin token, a thousand at a time', async () => {
    await start({ adminToken })
    const found = await enrol(2500, { adminToken })
    expect(found).toHaveLength(2500)
    expect(calls('POST /api/v1/admin/devices/import')).toBe(3)
    expect(calls('POST /api/v1/devices/register')).toBe(0)
  })

  it('by registration when the server has no import', async () => {
    await start()
    expect(await enrol(3, { adminToken })).toHaveLength(3)
    expect(calls('POST /api/v1/admin/devices/import')).toBe(1)
    expect(calls('POST /api/v1/devices/register')).toBe(3)
  })

  it('from the file, and only new devices are registered', async () => {
    await start()
    const first = await enrol(3)
    expect(await enrol(5)).toEqual([...first, ...(await enrol(5)).slice(3)])
    expect(server.names).toHaveLength(5)
    expect(calls('POST /api/v1/devices/register')).toBe(5)
  })

  it('anew when the server has lost its data', async () => {
    await start()
    await enrol(40)
    const { url } = server
    await server.close()
    await start()
    const keys = new KeyFile(file, server.url)
    keys.add([...new KeyFile(file, url).load().values()])
    expect(await enrol(40)).toHaveLength(40)
    // One wrong key is enough to know.
    expect(calls('GET /api/v1/devices/status')).toBe(1)
    expect(server.names).toHaveLength(40)
  })

  it('anew by rotation when the file is lost, with the admin token', async () => {
    await start({ adminToken })
    await enrol(3)
    rmSync(file)
    const found = await enrol(3, { adminToken })
    expect(found.map(({ id, apiKey }) => [id, apiKey])).toEqual([
      [1, 'new-key-1'],
      [2, 'new-key-2'],
      [3, 'new-key-3'],
    ])
  })

  it('not at all when the file is lost and there is no admin token: the sentence says what to do', async () => {
    await start()
    await enrol(1)
    rmSync(file)
    await expect(enrol(1)).rejects.toThrow(
      /^sim-camera-1 could not be registered: .*taken.*--name.*ADMIN_TOKEN.*\.$/,
    )
  })
})

describe('the key file', () => {
  it('can be read by its owner only, also when it was not so before', async () => {
    await start()
    await enrol(1)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    chmodSync(file, 0o644)
    await enrol(2)
    expect(statSync(file).mode & 0o777).toBe(0o600)
  })

  it('keeps the keys of each server apart, and those that others added meanwhile', async () => {
    await start()
    const here = new KeyFile(file, server.url)
    const there = new KeyFile(file, 'http://other')
    here.add([{ id: 1, name: 'a', apiKey: 'one' }])
    there.add([{ id: 1, name: 'a', apiKey: 'two' }])
    here.add([{ id: 2, name: 'b', apiKey: 'three' }])
    expect([...here.load().values()].map(({ apiKey }) => apiKey)).toEqual(['one', 'three'])
    expect(there.load().get('a')?.apiKey).toBe('two')
    expect(JSON.parse(readFileSync(file, 'utf8'))).toHaveProperty([server.url, 'a', 'id'], 1)
  })

  it('that is no JSON is named in one sentence', async () => {
    await start()
    await enrol(1)
    writeFileSync(file, 'keys: none')
    await expect(enrol(1)).rejects.toThrow(/^The key file .*keys\.json is no JSON: delete it, or .*--keys\.$/)
  })
})
