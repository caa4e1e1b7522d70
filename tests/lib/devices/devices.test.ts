import { expect, it, vi } from 'vitest'
import { noon, pump, startDevices } from '../../support/devices.ts'
import { describeRegistry } from '../../support/registry.ts'

describeRegistry('devices', (place) => {
  it('of one name that register at the same time become one device with one key', async () => {
    const { connect } = await startDevices(place)
    const services = [await connect(), await connect(), await connect(), await connect(), await connect()]
    const settled = await Promise.allSettled(
      Array.from({ length: 10 }, () => services.map(({ devices }) => devices.register(pump))).flat(),
    )
    const won = settled.filter((result) => result.status === 'fulfilled').map(({ value }) => value)
    const lost = settled.filter((result) => result.status === 'rejected').map(({ reason }) => reason.code)
    expect(won).toHaveLength(1)
    expect(lost).toEqual(Array(49).fill('CONFLICT'))
    const { devices } = await connect()
    const [winner] = won
    expect((await devices.authenticate(winner?.apiKey ?? '')).device).toMatchObject({
      id: winner?.device.id,
      ...pump,
    })
    expect((await devices.list({ limit: 10 })).total).toBe(1)
    expect(await devices.credentials(winner?.device.id ?? 0)).toHaveLength(1)
    expect(await devices.events(winner?.device.id ?? 0, { limit: 10 })).toMatchObject([
      { kind: 'registered' },
    ])
  })

  it('never get an id for the second time', async () => {
    const { devices } = await (await startDevices(place)).connect()
    const first = await devices.register(pump)
    await devices.delete(first.device.id)
    const second = await devices.register(pump)
    expect(second.device.id).toBeGreaterThan(first.device.id)
    await expect(devices.authenticate(first.apiKey)).rejects.toMatchObject({ code: 'UNAUTHORIZED' })
  })

  it('are listed by status, type and text, page by page', async () => {
    const { devices } = await (await startDevices(place)).connect()
    const names = ['50% valve', 'fan', 'Fan_2', 'heater']
    for (const name of names) await devices.register({ ...pump, name })
    const { device } = await devices.register({ name: 'probe', deviceType: 'sensor', location: 'Fan room' })
    await devices.update(device.id, { status: 'inactive' }, 'admin')
    const found = async (query: Partial<Parameters<typeof devices.list>[0]>) => {
      const { devices: page, total } = await devices.list({ limit: 10, ...query })
      return [page.map(({ name }) => name), total]
    }
    expect(await found({ q: 'FAN' })).toEqual([['fan', 'Fan_2', 'probe'], 3])
    expect(await found({ q: '0% v' })).toEqual([['50% valve'], 1])
    expect(await found({ q: 'n_2' })).toEqual([['Fan_2'], 1])
    expect(await found({ status: 'inactive' })).toEqual([['probe'], 1])
    expect(await found({ deviceType: 'actuator', limit: 2 })).toEqual([['50% valve', 'fan'], 4])
    expect(await found({ deviceType: 'actuator', limit: 2, after: { id: 2 } })).toEqual([
      ['Fan_2', 'heater'],
      4,
    ])
  })

  it('are found by text in any script, in upper and lower case, composed or not', async () => {
    const { devices } = await (await startDevices(place)).connect()
    const texts = ['GARTEN-ÜBERWACHUNG', 'Straße 7', 'ΟΔΟΣ', 'Датчик', '温度計', 'Cafe\u0301']
    for (const name of texts) await devices.register({ ...pump, name })
    const { device } = await devices.register({ ...pump, name: 'x', location: 'Küche', description: 'ÄRA' })
    const found = async (q: string) => {
      const { devices: page, total } = await devices.list({ limit: 10, q })
      expect(total).toBe(page.length)
      return page.map(({ name }) => name)
    }
    expect(await found('überwachung')).toEqual(['GARTEN-ÜBERWACHUNG'])
    expect(await found('u\u0308BERWACH')).toEqual(['GARTEN-ÜBERWACHUNG'])
    expect(await found('STRASSE')).toEqual(['Straße 7'])
    expect(await found('οδος')).toEqual(['ΟΔΟΣ'])
    expect(await found('ДАТЧИК')).toEqual(['Датчик'])
    expect(await found('度')).toEqual(['温度計'])
    expect(await found('CAFÉ')).toEqual(['Café'])
    expect(await found('KÜCHE')).toEqual(['x'])
    expect(await found('ära')).toEqual(['x'])
    await devices.update(device.id, { name: 'ÖFEN', location: null }, 'admin')
    expect(await found('öfen')).toEqual(['ÖFEN'])
    expect(await found('küche')).toEqual([])
    expect(await found('ära')).toEqual(['ÖFEN'])
  })

  it('have one name however its letters are composed', async () => {
    const { devices } = await (await startDevices(place)).connect()
    const { device } = await devices.register({ ...pump, name: 'Cafe\u0301' })
    expect(device.name).toBe('Café')
    const conflict = { code: 'CONFLICT' }
    for (const name of ['Café', 'Cafe\u0301'])
      await expect(devices.register({ ...pump, name })).rejects.toMatchObject(conflict)
    const other = await devices.register({ ...pump, name: 'other' })
    await expect(devices.update(other.device.id, { name: 'Cafe\u0301' }, 'admin')).rejects.toMatchObject(
      conflict,
    )
    expect((await devices.update(device.id, { name: 'Cafe\u0301' }, 'admin')).device.name).toBe('Café')
  })

  it('are found many at once: from memory, and the others with one statement', async () => {
    const { clock, connect } = await startDevices(place)
    const { devices, registry } = await connect({ cacheMs: 1000 })
    const ids: number[] = []
    for (const name of ['a', 'b', 'c']) ids.push((await devices.register({ ...pump, name })).device.id)
    const execute = vi.spyOn(registry.db.$client, 'execute')
    const find = async () => {
      execute.mockClear()
      const found = await devices.findMany([...ids, ...ids, 999_999])
      return {
        names: [...found.values()].map(({ name }) => name).sort(),
        statements: execute.mock.calls.length,
      }
    }
    expect(await find()).toEqual({ names: ['a', 'b', 'c'], statements: 1 })
    execute.mockClear()
    expect((await devices.findMany(ids)).size).toBe(3)
    expect(execute).not.toHaveBeenCalled()
    devices.touch(ids[0] ?? 0)
    clock.now += 1000
    const [first] = (await devices.findMany(ids)).values()
    expect(first).toMatchObject({ id: ids[0], lastSeenAt: noon })
    expect(execute).toHaveBeenCalledTimes(1)
    expect(await devices.findMany([])).toEqual(new Map())
    clock.now += 1000
    execute.mockClear()
    const each = await Promise.all([...ids, 999_999].map((id) => devices.find(id)))
    expect(each.map((device) => device?.name)).toEqual(['a', 'b', 'c', undefined])
    expect(execute).toHaveBeenCalledTimes(1)
  })

  it('keep what a change leaves out, and record it as an event', async () => {
    const { clock, connect } = await startDevices(place)
    const { devices } = await connect()
    const { device } = await devices.register({ ...pump, location: 'Lab' })
    clock.now += 1000
    const changed = await devices.update(device.id, { name: 'pump 2', status: 'maintenance' }, 'admin')
    expect(changed.before).toEqual(device)
    expect(changed.device).toEqual({
      ...device,
      name: 'pump 2',
      status: 'maintenance',
      updatedAt: noon + 1000,
    })
    expect(await devices.update(device.id, {}, 'device')).toEqual({
      device: changed.device,
      before: changed.device,
    })
    const other = await devices.register({ ...pump, name: 'other' })
    await expect(devices.update(other.device.id, { name: 'pump 2' }, 'admin')).rejects.toMatchObject({
      code: 'CONFLICT',
    })
    await expect(devices.update(999_999, { name: 'nobody' }, 'admin')).rejects.toMatchObject({
      code: 'NOT_FOUND',
    })
  })

  it('are summed up by status and type, with those that are online', async () => {
    const { clock, connect } = await startDevices(place)
    const { devices } = await connect()
    const [seen, quiet] = [await devices.register(pump), await devices.register({ ...pump, name: 'quiet' })]
    const probe = await devices.register({ name: 'probe', deviceType: 'sensor' })
    await devices.update(probe.device.id, { status: 'inactive' }, 'admin')
    devices.touch(quiet.device.id)
    clock.now += 300_000
    devices.touch(seen.device.id)
    expect(await devices.summary()).toMatchObject({
      total: 3,
      online: 1,
      byStatus: { active: 2, inactive: 1, maintenance: 0 },
      byType: { actuator: 2, sensor: 1 },
      lastSeen: [{ name: 'pump' }, { name: 'quiet' }],
    })
  })
})
