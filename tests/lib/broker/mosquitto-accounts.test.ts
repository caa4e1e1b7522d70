import { join } from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { accountCommands, markOf } from '../../../lib/broker/dynamic-security.ts'
import { type Accounts, createAccounts, withAccounts } from '../../../lib/broker/mosquitto-accounts.ts'
import { syncAccounts } from '../../../lib/broker/mosquitto-sync.ts'
import { digestKey } from '../../../lib/devices/credentials.ts'
import { createDevices, type Devices } from '../../../lib/devices/devices.ts'
import { toDescription } from '../../../lib/devices/fields.ts'
import { createLog } from '../../../lib/log.ts'
import { defaultTopics } from '../../../lib/mqtt/topics.ts'
import { openRegistry, type Registry } from '../../../lib/registry/db.ts'
import { connectMosquitto, type Mosquitto } from '../../../local/mqtt/mosquitto/client.ts'
import { describeWith } from '../../support/backends.ts'
import { answerMs, hasMosquitto, type MosquittoServer, startMosquitto } from '../../support/mosquitto.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { eventually } from '../../support/waiting.ts'

const log = createLog('silent')

describeWith({ mosquitto: hasMosquitto }, 'accounts of devices at a Mosquitto', () => {
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
    server = await startMosquitto({ saving: 'safe' })
    mosquitto = connectMosquitto(server.serverLogin, answerMs)
    await mosquitto.ready
    const folder = await temporaryFolder()
    removeFolder = folder.remove
    registry = await openRegistry({ url: `file:${join(folder.path, 'registry.db')}` })
    await registry.migrate()
    const now = () => clock.now
    plain = createDevices({ db: registry.db, log, now, keyLength: 32, offlineAfterS: 300, cacheMs: 0 })
    accounts = createAccounts({
      topics: defaultTopics,
      db: registry.db,
      digestKey,
      sendCommands: async (commands) => void (await mosquitto.sendCommands(commands)),
      log,
      now,
    })
    devices = withAccounts(plain, accounts, log)
  })
  beforeEach(() => {
    // Later than the interval in which a device is repaired once.
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
  const sync = (dryRun = false) =>
    syncAccounts({
      topics: defaultTopics,
      db: registry.db,
      accounts,
      sendCommands: (commands) => mosquitto.sendCommands(commands),
      dryRun,
    })
  const isLetIn = (id: number, key: string) =>
    connect(id, key).then(
      async (client) => {
        await client.endAsync()
        return true
      },
      () => false,
    )
  const ends = (client: MqttClient) => eventually(() => expect(client.connected).toBe(false))
  /** Ends when the client knows it: a command sent before that would be sent again to the next broker. */
  const endBroker = async () => {
    await server.kill()
    await eventually(() => expect(() => mosquitto.retainedTopics()).toThrow())
  }

  it('let a new device connect with its key', async () => {
    const { id, key } = await register()
    expect(await isLetIn(id, key)).toBe(true)
    expect(await isLetIn(id, `${key.slice(0, -1)}${key.endsWith('x') ? 'y' : 'x'}`)).toBe(false)
  })

  it('let imported devices connect, and one that an import makes inactive no more', async () => {
    const rows = Array.from({ length: 45 }, (_, at) => ({
      row: at + 1,
      device: { ...toDescription({}), name: `imported ${at}`, deviceType: 'sensor' },
    }))
    const { keys } = await devices.importRows(rows, { upsert: false, dryRun: false })
    expect(keys).toHaveLength(45)
    const [first] = keys
    const last = keys.at(-1)
    if (first === undefined || last === undefined) throw new Error('nothing was imported')
    expect(await isLetIn(first.id, first.apiKey)).toBe(true)
    const client = await connect(last.id, last.apiKey)
    const inactive = rows.slice(-1).map(({ row, device }) => ({
      row,
      device: { ...device, status: 'inactive' as const },
    }))
    await devices.importRows(inactive, { upsert: true, dryRun: false })
    await ends(client)
    expect(await isLetIn(last.id, last.apiKey)).toBe(false)
    expect(await isLetIn(first.id, first.apiKey)).toBe(true)
  })

  it('accept the new key after a rotation, and the old key no more', async () => {
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
  ])('end the connection of a device and refuse it when %s', async (_, lose) => {
    const [one, other] = [await register(), await register()]
    const client = await connect(one.id, one.key)
    await lose(one.id)
    await ends(client)
    await lose(other.id)
    expect([await isLetIn(one.id, one.key), await isLetIn(other.id, other.key)]).toEqual([false, false])
  })

  it('refuse a device whose key has expired, after the next reconcile', async () => {
    const { id, key } = await register()
    await devices.rotateKey(id, { graceS: 3600, usedKey: key, by: 'device' })
    // Gives the old key back to the broker, as a restore would.
    await accounts.push(id, key)
    const client = await connect(id, key)
    clock.now += 3_600_001
    expect(await accounts.reconcile()).toBe(1)
    await ends(client)
    expect(await isLetIn(id, key)).toBe(false)
  })

  it('accept a device again that is active again', async () => {
    const { id, key } = await register()
    await devices.update(id, { status: 'inactive' }, 'admin')
    await devices.update(id, { status: 'active' }, 'admin')
    expect(await isLetIn(id, key)).toBe(true)
  })

  it('are created at the next request of a device that has none', async () => {
    const { id, key } = await register(plain)
    expect(await isLetIn(id, key)).toBe(false)
    await devices.authenticate(key)
    await eventually(async () => expect(await isLetIn(id, key)).toBe(true))
  })

  it('are created after the broker was unavailable', async () => {
    await endBroker()
    const { id, key } = await register()
    const gone = await register(plain)
    await server.start()
    await eventually(() => mosquitto.sendCommands([{ command: 'listClients' }]))
    await devices.authenticate(key)
    await eventually(async () => expect(await isLetIn(id, key)).toBe(true))
    expect(await isLetIn(gone.id, gone.key)).toBe(false)
  })

  it('are disabled by the next reconcile when the broker was unavailable', async () => {
    const { id, key } = await register()
    await endBroker()
    await devices.update(id, { status: 'inactive' }, 'admin')
    await server.start()
    await eventually(() => mosquitto.sendCommands([{ command: 'listClients' }]))
    expect(await isLetIn(id, key)).toBe(true)
    expect(await accounts.reconcile()).toBe(1)
    expect(await isLetIn(id, key)).toBe(false)
  })

  it('are bound to their client id by a sync, which ends no other connection', async () => {
    const [fine, loose] = [await register(), await register()]
    await mosquitto.sendCommands([
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
      connectAsync(server.serverLogin.url, {
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
    const done = await sync()
    expect(done.repaired).toEqual([loose.id])
    expect(await intrude()).toBe('refused')
    expect(await isLetIn(loose.id, loose.key)).toBe(true)
    expect(connected.connected).toBe(true)
    await connected.endAsync()
  })

  it('are disabled by a sync when a restored broker has an old key, until the device uses its own', async () => {
    const { id, key } = await register()
    const { apiKey } = await devices.rotateKey(id, { graceS: 0, usedKey: key, by: 'admin' })
    await mosquitto.sendCommands(accountCommands(defaultTopics, id, key, markOf(digestKey(key))))
    expect(await isLetIn(id, key)).toBe(true)
    expect((await sync(true)).unknown).toEqual([id])
    const done = await sync()
    expect(done.unknown).toEqual([id])
    expect(done.withoutPassword.map((device) => device.id)).toContain(id)
    expect([await isLetIn(id, key), await isLetIn(id, apiKey)]).toEqual([false, false])
    await devices.authenticate(apiKey)
    await eventually(async () => expect(await isLetIn(id, apiKey)).toBe(true))
    expect(await isLetIn(id, key)).toBe(false)
    expect((await sync()).unknown).toEqual([])
  })

  it('keep their key in a sync when an earlier version made them without a mark', async () => {
    const { id, key } = await register()
    await mosquitto.sendCommands([{ command: 'modifyClient', username: String(id), textdescription: '' }])
    const done = await sync()
    expect(done.unknown).toEqual([])
    expect(await isLetIn(id, key)).toBe(true)
  })

  it('are reconciled after the server died during a push, and although another account fails', async () => {
    const { db } = registry
    const dying = createAccounts({
      topics: defaultTopics,
      db,
      log,
      digestKey,
      async sendCommands(commands) {
        await mosquitto.sendCommands(commands)
        throw new Error('the server ended')
      },
    })
    const [one, two] = [await register(plain), await register(plain)]
    for (const { id, key } of [one, two]) await expect(dying.push(id, key)).rejects.toThrow('ended')
    expect(await isLetIn(two.id, two.key)).toBe(true)
    const failing = createAccounts({
      topics: defaultTopics,
      db,
      log,
      digestKey,
      async sendCommands(commands) {
        if (JSON.stringify(commands).includes(`"${one.id}"`)) throw new Error('not this one')
        await mosquitto.sendCommands(commands)
      },
    })
    await expect(failing.reconcile()).rejects.toThrow('not this one')
    expect(await isLetIn(two.id, two.key)).toBe(false)
    await devices.authenticate(two.key)
    await eventually(async () => expect(await isLetIn(two.id, two.key)).toBe(true))
    await accounts.reconcile()
    expect(await isLetIn(one.id, one.key)).toBe(false)
  })

  it('are repaired by a sync, which lists the devices without an account', async () => {
    const [fine, lost, off, rights] = [await register(), await register(), await register(), await register()]
    const without = await register(plain)
    await mosquitto.sendCommands([
      { command: 'deleteClient', username: String(lost.id) },
      { command: 'disableClient', username: String(off.id) },
      { command: 'createRole', rolename: 'everything', acls: [] },
      { command: 'modifyClient', username: String(rights.id), roles: [{ rolename: 'everything' }] },
      { command: 'createClient', username: '999999', password: 'nobody' },
      { command: 'createClient', username: 'a-person', password: 'keeps-it' },
    ])
    const planned = await sync(true)
    expect(planned).toMatchObject({ removed: [999_999], repaired: [rights.id] })
    expect(await isLetIn(off.id, off.key)).toBe(false)
    const done = await sync()
    expect(done).toMatchObject({ removed: [999_999], repaired: [rights.id] })
    expect(done.switched).toBeGreaterThan(0)
    const names = done.withoutPassword.map(({ id }) => id)
    expect(names).toContain(lost.id)
    expect(names).toContain(without.id)
    expect(names).not.toContain(fine.id)
    expect(await isLetIn(off.id, off.key)).toBe(true)
    expect(await isLetIn(lost.id, lost.key)).toBe(false)
    await devices.authenticate(lost.key)
    await eventually(async () => expect(await isLetIn(lost.id, lost.key)).toBe(true))
    const again = await sync()
    expect(again).toMatchObject({ removed: [], repaired: [], unknown: [], switched: 0 })
    const person = await connectAsync(server.url, { username: 'a-person', password: 'keeps-it' })
    await person.endAsync()
  })
})
