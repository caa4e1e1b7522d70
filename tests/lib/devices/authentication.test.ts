import { expect, it, vi } from 'vitest'
import { pump, startDevices } from '../../support/devices.ts'
import { describeRegistry } from '../../support/registry.ts'

const unauthorized = { code: 'UNAUTHORIZED' }

describeRegistry('authentication', (place) => {
  it('refuses text that is no key, unknown keys, and keys of inactive devices', async () => {
    const { connect } = await startDevices(place)
    const { devices, registry } = await connect()
    const { device, apiKey } = await devices.register(pump)
    const execute = vi.spyOn(registry.db.$client, 'execute')
    for (const text of ['', 'short', `${apiKey}!`, `${apiKey} `])
      await expect(devices.authenticate(text)).rejects.toMatchObject(unauthorized)
    expect(execute).not.toHaveBeenCalled()
    await expect(devices.authenticate('x'.repeat(32))).rejects.toMatchObject(unauthorized)
    await devices.update(device.id, { status: 'inactive' }, 'admin')
    await expect(devices.authenticate(apiKey)).rejects.toMatchObject({ code: 'FORBIDDEN' })
    await devices.update(device.id, { status: 'maintenance' }, 'admin')
    expect(await devices.authenticate(apiKey)).toMatchObject({ device: pump, expiresAt: null })
  })

  it('names a key that the registry knows, for the log, by its prefix', async () => {
    const { clock, connect } = await startDevices(place)
    const { devices } = await connect({ cacheMs: 1000 })
    const { device, apiKey } = await devices.register(pump)
    const prefix = apiKey.slice(0, 6)
    const refused = (why: string) => ({ logFields: { device_id: device.id, prefix, why } })
    await devices.update(device.id, { status: 'inactive' }, 'admin')
    await expect(devices.authenticate(apiKey)).rejects.toMatchObject(refused('inactive'))
    await devices.update(device.id, { status: 'active' }, 'admin')
    await devices.rotateKey(device.id, { graceS: 1, by: 'admin' })
    clock.now += 1000
    await expect(devices.authenticate(apiKey)).rejects.toMatchObject(refused('expired'))
    await devices.revokeKeys(device.id)
    await expect(devices.authenticate(apiKey)).rejects.toMatchObject(refused('revoked'))
    await expect(devices.authenticate('x'.repeat(32))).rejects.toMatchObject({ logFields: {} })
  })

  it('reads the keys that come at once with one statement, and judges each', async () => {
    const { connect } = await startDevices(place)
    const { devices, registry } = await connect()
    const named = (name: string) => devices.register({ ...pump, name })
    const [one, two, inactive] = [await named('one'), await named('two'), await named('inactive')]
    await devices.revokeKeys(two.device.id)
    await devices.update(inactive.device.id, { status: 'inactive' }, 'admin')
    const execute = vi.spyOn(registry.db.$client, 'execute')
    const keys = [two.apiKey, one.apiKey, 'x'.repeat(32), inactive.apiKey, one.apiKey]
    const outcomes = await Promise.allSettled(
      keys.map(async (key) => (await devices.authenticate(key)).device.id),
    )
    expect(execute).toHaveBeenCalledTimes(1)
    expect(outcomes).toMatchObject([
      { reason: unauthorized },
      { value: one.device.id },
      { reason: unauthorized },
      { reason: { code: 'FORBIDDEN' } },
      { value: one.device.id },
    ])
    const other = await named('other')
    const both = () => Promise.allSettled([one, other].map(({ apiKey }) => devices.authenticate(apiKey)))
    execute.mockClear()
    execute.mockRejectedValueOnce(new Error('gone'))
    expect((await both()).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect((await both()).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
    expect(execute).toHaveBeenCalledTimes(2)
  })

  it('answers from memory until cacheMs, and notices changes of its own process at once', async () => {
    const { clock, connect } = await startDevices(place)
    const { devices } = await connect({ cacheMs: 1000 })
    const elsewhere = (await connect()).devices
    const { device, apiKey } = await devices.register(pump)
    await devices.authenticate(apiKey)
    await elsewhere.revokeKeys(device.id)
    clock.now += 999
    expect((await devices.authenticate(apiKey)).device).toMatchObject(pump)
    clock.now += 1
    await expect(devices.authenticate(apiKey)).rejects.toMatchObject(unauthorized)

    const { apiKey: next } = await devices.rotateKey(device.id, { graceS: 0, by: 'admin' })
    await devices.authenticate(next)
    await devices.revokeKeys(device.id)
    await expect(devices.authenticate(next)).rejects.toMatchObject(unauthorized)
  })

  it('changes a device with all its keys in memory, for no longer than they were to last', async () => {
    const { clock, connect } = await startDevices(place)
    const { devices } = await connect({ cacheMs: 60_000 })
    const elsewhere = (await connect()).devices
    const { device, apiKey } = await devices.register(pump)
    const { apiKey: second } = await devices.rotateKey(device.id, { graceS: 86_400, by: 'admin' })
    for (const key of [apiKey, second]) await devices.authenticate(key)
    await devices.find(device.id)
    await elsewhere.revokeKeys(device.id)
    clock.now += 59_999
    devices.changeCached(device.id, { connectedAt: 5 })
    for (const key of [apiKey, second])
      expect((await devices.authenticate(key)).device).toMatchObject({ id: device.id, connectedAt: 5 })
    expect(await devices.find(device.id)).toMatchObject({ connectedAt: 5 })
    clock.now += 1
    for (const key of [apiKey, second])
      await expect(devices.authenticate(key)).rejects.toMatchObject(unauthorized)
  })

  it('shows when the device was last seen, also before that is written', async () => {
    const { clock, connect } = await startDevices(place)
    const { devices } = await connect({ cacheMs: 60_000 })
    const { device, apiKey } = await devices.register(pump)
    expect((await devices.authenticate(apiKey)).device.lastSeenAt).toBeNull()
    clock.now += 1
    devices.touch(device.id)
    expect((await devices.authenticate(apiKey)).device.lastSeenAt).toBe(clock.now)
    expect((await devices.find(device.id))?.lastSeenAt).toBe(clock.now)
  })

  it('does not remember a key that is revoked while its row is read', async () => {
    const { connect } = await startDevices(place)
    const { devices, registry } = await connect({ cacheMs: 60_000 })
    const { device, apiKey } = await devices.register(pump)
    const client = registry.db.$client
    const { execute } = client
    // The next two queries have their rows, and hand them over when the test says so.
    const held: (() => void)[] = []
    vi.spyOn(client, 'execute').mockImplementation(async (...args) => {
      const rows = await Reflect.apply(execute, client, args)
      if (held.length < 2) await new Promise<void>((resolve) => held.push(resolve))
      return rows
    })
    const asked = Promise.all([devices.authenticate(apiKey), devices.find(device.id)])
    await expect.poll(() => held.length).toBe(2)
    await devices.update(device.id, { status: 'inactive' }, 'admin')
    await devices.revokeKeys(device.id)
    for (const handOver of held) handOver()
    await asked
    await expect(devices.authenticate(apiKey)).rejects.toMatchObject(unauthorized)
    expect((await devices.find(device.id))?.status).toBe('inactive')
  })
})
