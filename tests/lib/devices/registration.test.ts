import { expect, it, vi } from 'vitest'
import type { NewDevice } from '../../../lib/devices/device.ts'
import type { Devices } from '../../../lib/devices/devices.ts'
import { EnrollmentKeys } from '../../../lib/devices/enrollment-keys.ts'
import { AppError } from '../../../lib/errors.ts'
import { noon, pump, startDevices } from '../../support/devices.ts'
import { describeRegistry } from '../../support/registry.ts'

describeRegistry('registrations at the same time', (place) => {
  const start = async () => {
    const { connect } = await startDevices(place)
    const { devices, registry } = await connect()
    const keys = new EnrollmentKeys(registry.db, () => noon)
    const batch = vi.spyOn(registry.db.$client, 'batch')
    return { devices, keys, batch }
  }

  /** The name of each device that was made, and the code of each error. */
  const outcomes = async (devices: Devices, inputs: readonly Partial<NewDevice>[]) => {
    const settled = await Promise.allSettled(inputs.map((input) => devices.register({ ...pump, ...input })))
    return settled.map((one) => (one.status === 'fulfilled' ? one.value.device.name : one.reason.code))
  }

  it('are written by one transaction, in their order, each with its own key and event', async () => {
    const { devices, batch } = await start()
    const names = Array.from({ length: 50 }, (_, n) => `pump ${n}`)
    const labels = { site: 'north' }
    const made = await Promise.all(names.map((name) => devices.register({ ...pump, name, labels })))
    expect(batch).toHaveBeenCalledTimes(1)
    expect(made.map(({ device }) => device.name)).toEqual(names)
    const ids = made.map(({ device }) => device.id)
    expect(ids).toEqual([...ids].sort((one, other) => one - other))
    expect(new Set(made.map(({ apiKey }) => apiKey)).size).toBe(50)
    for (const { device, apiKey } of made.slice(0, 10)) {
      expect((await devices.authenticate(apiKey)).device).toEqual(device)
      expect(device.labels).toEqual(labels)
    }
    const events = await devices.newestEvents(100)
    expect(events.map(({ kind, deviceName }) => [kind, deviceName])).toEqual(
      names.toReversed().map((name) => ['registered', name]),
    )
  })

  it('fail alone: of one name the first wins, and a taken one leaves the others', async () => {
    const { devices } = await start()
    await devices.register({ ...pump, name: 'taken' })
    const inputs = ['a', 'taken', 'b', 'Cafe\u0301', 'a', 'Café', 'taken', 'c'].map((name) => ({ name }))
    expect(await outcomes(devices, inputs)).toEqual([
      'a',
      'CONFLICT',
      'b',
      'Café',
      'CONFLICT',
      'CONFLICT',
      'CONFLICT',
      'c',
    ])
    expect((await devices.list({ limit: 10 })).total).toBe(5)
    for (const { id } of (await devices.list({ limit: 10 })).devices)
      expect(await devices.credentials(id)).toHaveLength(1)
  })

  it('with an enrolment key are counted exactly, and one that it refuses leaves the others and its name', async () => {
    const { devices, keys } = await start()
    const few = (await keys.create({ name: 'few', maxDevices: 3 })).enrollmentKey.id
    const many = (await keys.create({ name: 'many' })).enrollmentKey.id
    const revoked = (await keys.create({ name: 'revoked' })).enrollmentKey.id
    await keys.revoke(revoked)
    await devices.register({ ...pump, name: 'taken' })
    const inputs = [
      { name: 'a', enrollmentKeyId: few },
      { name: 'b', enrollmentKeyId: many },
      { name: 'taken', enrollmentKeyId: few },
      { name: 'c', enrollmentKeyId: few },
      { name: 'd', enrollmentKeyId: revoked },
      { name: 'e', enrollmentKeyId: few },
      { name: 'f', enrollmentKeyId: few },
      { name: 'g' },
      // The key refuses the first one of this name, but not the second one.
      { name: 'f', enrollmentKeyId: many },
    ]
    expect(await outcomes(devices, inputs)).toEqual([
      'a',
      'b',
      'CONFLICT',
      'c',
      'UNAUTHORIZED',
      'e',
      'FORBIDDEN',
      'g',
      'f',
    ])
    const used = async (id: number) => (await keys.get(id)).used
    expect([await used(few), await used(many), await used(revoked)]).toEqual([3, 2, 0])
    expect((await devices.list({ limit: 20 })).total).toBe(7)
  })

  it('are all refused, and not tried again, while the database is unavailable', async () => {
    const { devices, batch } = await start()
    batch.mockRejectedValueOnce(new AppError('UNAVAILABLE', 'away', { retryAfterS: 2 }))
    expect(await outcomes(devices, [{ name: 'a' }, { name: 'b' }, { name: 'a' }])).toEqual(
      Array(3).fill('UNAVAILABLE'),
    )
    expect(batch).toHaveBeenCalledTimes(1)
    expect(await outcomes(devices, [{ name: 'a' }, { name: 'b' }])).toEqual(['a', 'b'])
  })

  it('are written before the service closes', async () => {
    const { connect } = await startDevices(place)
    const { devices } = await connect()
    const { devices: other } = await connect()
    const registered = devices.register(pump)
    await devices.close()
    expect((await other.list({ limit: 10 })).total).toBe(1)
    await registered
  })
})
