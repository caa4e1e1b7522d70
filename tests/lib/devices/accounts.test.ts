import { join } from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { type Accounts, createAccounts, withAccounts } from '../../../lib/devices/accounts.ts'
import { digestKey } from '../../../lib/devices/credentials.ts'
import { createDevices, type Devices } from '../../../lib/devices/devices.ts'
import { createLog } from '../../../lib/log.ts'
import { accountCommands, markOf } from '../../../lib/mqtt/accounts.ts'
import { openRegistry, type Registry } from '../../../lib/registry/db.ts'
import { connectMosquitto, type Mosquitto } from '../../../local/mosquitto.ts'
import { syncAccounts } from '../../../local/mqtt-sync.ts'
import { describeWith } from '../../support/backends.ts'
import { hasMosquitto, type MosquittoServer, startMosquitto } from '../../support/mosquitto.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const log = createLog('silent')

describeWith({ mosquitto: hasMosquitto }, 'devices with accounts at a Mosquitto', () => {
  let server: MosquittoServer
  let mosquitto: Mosquitto
  let registry: Registry
  let plain: Devices
  let devices: Devices
  let accounts: Accounts
  let removeFolder: () => Promise<void>
  const clock = { now: Date.now() }
  const clients: MqttClient[] = []

  beforeAll(async () => {
    server = await startMosquitto({ crash: 'safe' })
    mosquitto = connectMosquitto(server.layer)
    await mosquitto.ready
    const folder = await temporaryFolder()
    removeFolder = folder.remove
    registry = await openRegistry({ url: `file:${join(folder.path, 'registry.db')}` })
    await registry.migrate()
    const now = () => clock.now
    plain = createDevices({ db: registry.db, log, now, keyLength: 32, offlineAfterS: 300, cacheMs: 0 })
    accounts = createAccounts({
      db: registry.db,
      say: async (commands) => void (await mosquitto.control(commands)),
      log,
      now,
    })
    devices = withAccounts(plain, accounts, log)
  })
  beforeEach(() => {
    // Beyond the time in which a device is not looked up again.
    clock.now += 60_000
  })
  afterAll(async () => {
    for (const client of clients) await client.endAsync(true)
    await plain?.close()
    registry?.close()
    await mosquitto?.close()
    await server?.end()
    await removeFolder?.()
  })

  let made = 0
  const register = async (by = devices) => {
    made += 1
    const { device, apiKey } = await by.register({ name: `device ${made}`, deviceType: 'sensor' })
    return { id: device.id, key: apiKey }
  }
  const connect = async (id: number, key: string) => {
    const client = await connectAsync(server.url, {
      username: String(id),
      password: key,
      reconnectPeriod: 0,
    })
    client.on('error', () => {})
    clients.push(client)
    return client
  }
  const isLetIn = (id: number, key: string) =>
    connect(id, key).then(
      async (client) => {
        await client.endAsync()
        return true
      },
      () => false,
    )
  const ends = (client: MqttClient) => vi.waitFor(() => expect(client.connected).toBe(false), 5000)

  it('let a device in that was just registered, with its key', async () => {
    const { id, key } = await register()
    expect(await isLetIn(id, key)).toBe(true)
    expect(await isLetIn(id, `${key.slice(0, -1)}x`)).toBe(false)
  })

  it('take the new key after a rotation, and the one before no more', async () => {
    const { id, key } = await register()
    const client = await connect(id, key)
    const { apiKey } = await devices.rotateKey(id, { graceS: 3600, usedKey: key, by: 'device' })
    await ends(client)
    expect([await isLetIn(id, apiKey), await isLetIn(id, key)]).toEqual([true, false])
  })

  it.each([
    ['its key is revoked', async (id: number) => void (await devices.revokeKeys(id))],
    [
      'it is made inactive',
      async (id: number) => void (await devices.update(id, { status: 'inactive' }, 'admin')),
    ],
    ['it is deleted', async (id: number) => void (await devices.delete(id))],
  ])('put a device out when %s, connected or not', async (_, lose) => {
    const [one, other] = [await register(), await register()]
    const client = await connect(one.id, one.key)
    const began = performance.now()
    await lose(one.id)
    await ends(client)
    expect(performance.now() - began).toBeLessThan(10_000)
    await lose(other.id)
    expect([await isLetIn(one.id, one.key), await isLetIn(other.id, other.key)]).toEqual([false, false])
  })

  it('put a device out whose key has ended, by the next look at all', async () => {
    const { id, key } = await register()
    await devices.rotateKey(id, { graceS: 3600, usedKey: key, by: 'device' })
    // The broker has the old key again, as after a restore.
    await accounts.push(id, key)
    const client = await connect(id, key)
    clock.now += 3_600_001
    expect(await accounts.settle()).toBe(1)
    await ends(client)
    expect(await isLetIn(id, key)).toBe(false)
  })

  it('let a device in again that is active again', async () => {
    const { id, key } = await register()
    await devices.update(id, { status: 'inactive' }, 'admin')
    await devices.update(id, { status: 'active' }, 'admin')
    expect(await isLetIn(id, key)).toBe(true)
  })

  it('are made at the next call of a device that has none', async () => {
    const { id, key } = await register(plain)
    expect(await isLetIn(id, key)).toBe(false)
    await devices.authenticate(key)
    await vi.waitFor(async () => expect(await isLetIn(id, key)).toBe(true), 5000)
  })

  it('are made right after the broker was away', async () => {
    await server.kill()
    const { id, key } = await register()
    const gone = await register(plain)
    await server.start()
    await vi.waitFor(() => mosquitto.control([{ command: 'listClients' }]), 10_000)
    await devices.authenticate(key)
    await vi.waitFor(async () => expect(await isLetIn(id, key)).toBe(true), 5000)
    expect(await isLetIn(gone.id, gone.key)).toBe(false)
  }, 30_000)

  it('lose a right that the broker could not be told of, by the next look at all', async () => {
    const { id, key } = await register()
    await server.kill()
    await devices.update(id, { status: 'inactive' }, 'admin')
    await server.start()
    await vi.waitFor(() => mosquitto.control([{ command: 'listClients' }]), 10_000)
    expect(await isLetIn(id, key)).toBe(true)
    expect(await accounts.settle()).toBe(1)
    expect(await isLetIn(id, key)).toBe(false)
  }, 30_000)

  it('are bound to their client id by a sync, which ends no connection of others', async () => {
    const [fine, loose] = [await register(), await register()]
    await mosquitto.control([
      { command: 'deleteClient', username: String(loose.id) },
      {
        command: 'createClient',
        username: String(loose.id),
        password: loose.key,
        textdescription: markOf(digestKey(loose.key)),
        roles: [{ rolename: `iotflow-device-${loose.id}` }],
      },
    ])
    const intrude = () =>
      connectAsync(server.layer.url, {
        username: String(loose.id),
        password: loose.key,
        clientId: 'iotflow-bridge-of-test',
        reconnectPeriod: 0,
      }).then(
        async (client) => {
          await client.endAsync()
          return 'let in'
        },
        () => 'refused',
      )
    expect(await intrude()).toBe('let in')
    const connected = await connect(fine.id, fine.key)
    const done = await syncAccounts({ db: registry.db, mosquitto, dryRun: false })
    expect(done.repaired).toEqual([loose.id])
    expect(await intrude()).toBe('refused')
    expect(await isLetIn(loose.id, loose.key)).toBe(true)
    expect(connected.connected).toBe(true)
    await connected.endAsync()
  })

  it('are off after a restore of the broker that brought an ended key back, until the device shows its own', async () => {
    const { id, key } = await register()
    const { apiKey } = await devices.rotateKey(id, { graceS: 0, usedKey: key, by: 'admin' })
    await mosquitto.control(accountCommands(id, key, markOf(digestKey(key))))
    expect(await isLetIn(id, key)).toBe(true)
    const options = { db: registry.db, mosquitto }
    expect((await syncAccounts({ ...options, dryRun: true })).unknown).toEqual([id])
    const done = await syncAccounts({ ...options, dryRun: false })
    expect(done.unknown).toEqual([id])
    expect(done.without.map((device) => device.id)).toContain(id)
    expect([await isLetIn(id, key), await isLetIn(id, apiKey)]).toEqual([false, false])
    await devices.authenticate(apiKey)
    await vi.waitFor(async () => expect(await isLetIn(id, apiKey)).toBe(true), 5000)
    expect(await isLetIn(id, key)).toBe(false)
    expect((await syncAccounts({ ...options, dryRun: false })).unknown).toEqual([])
  })

  it('are left as they are by a sync where an earlier version of the layer made them', async () => {
    const { id, key } = await register()
    await mosquitto.control([{ command: 'modifyClient', username: String(id), textdescription: '' }])
    const done = await syncAccounts({ db: registry.db, mosquitto, dryRun: false })
    expect(done.unknown).toEqual([])
    expect(await isLetIn(id, key)).toBe(true)
  })

  it('are settled though the layer ended right after it told the broker, and though another one cannot be', async () => {
    const { db } = registry
    const dying = createAccounts({
      db,
      log,
      async say(commands) {
        await mosquitto.control(commands)
        throw new Error('the layer ended')
      },
    })
    const [one, two] = [await register(plain), await register(plain)]
    for (const { id, key } of [one, two]) await expect(dying.push(id, key)).rejects.toThrow('ended')
    expect(await isLetIn(two.id, two.key)).toBe(true)
    const failing = createAccounts({
      db,
      log,
      async say(commands) {
        if (JSON.stringify(commands).includes(`"${one.id}"`)) throw new Error('not this one')
        await mosquitto.control(commands)
      },
    })
    await expect(failing.settle()).rejects.toThrow('not this one')
    expect(await isLetIn(two.id, two.key)).toBe(false)
    await devices.authenticate(two.key)
    await vi.waitFor(async () => expect(await isLetIn(two.id, two.key)).toBe(true), 5000)
    await accounts.settle()
    expect(await isLetIn(one.id, one.key)).toBe(false)
  })

  it('are repaired by a sync, which tells who has none', async () => {
    const [fine, lost, off, rights] = [await register(), await register(), await register(), await register()]
    const without = await register(plain)
    await mosquitto.control([
      { command: 'deleteClient', username: String(lost.id) },
      { command: 'disableClient', username: String(off.id) },
      { command: 'createRole', rolename: 'everything', acls: [] },
      { command: 'modifyClient', username: String(rights.id), roles: [{ rolename: 'everything' }] },
      { command: 'createClient', username: '999999', password: 'nobody' },
      { command: 'createClient', username: 'a-person', password: 'keeps-it' },
    ])
    const options = { db: registry.db, mosquitto }
    const planned = await syncAccounts({ ...options, dryRun: true })
    expect(planned).toMatchObject({ removed: [999_999], repaired: [rights.id] })
    expect(await isLetIn(off.id, off.key)).toBe(false)
    const done = await syncAccounts({ ...options, dryRun: false })
    expect(done).toMatchObject({ removed: [999_999], repaired: [rights.id] })
    expect(done.switched).toBeGreaterThan(0)
    const names = done.without.map(({ id }) => id)
    expect(names).toContain(lost.id)
    expect(names).toContain(without.id)
    expect(names).not.toContain(fine.id)
    expect(await isLetIn(off.id, off.key)).toBe(true)
    expect(await isLetIn(lost.id, lost.key)).toBe(false)
    await devices.authenticate(lost.key)
    await vi.waitFor(async () => expect(await isLetIn(lost.id, lost.key)).toBe(true), 5000)
    const again = await syncAccounts({ ...options, dryRun: false })
    expect(again).toMatchObject({ removed: [], repaired: [], unknown: [], switched: 0 })
    const person = await connectAsync(server.url, { username: 'a-person', password: 'keeps-it' })
    await person.endAsync()
  })
})
