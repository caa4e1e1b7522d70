import { expect, it } from 'vitest'
import { changesOf } from '../../../lib/configuration/configurations.ts'
import { FleetConfigurations } from '../../../lib/configuration/fleet-configurations.ts'
import type { ConfigurationPublisher } from '../../../lib/configuration/publisher.ts'
import { createLog } from '../../../lib/log.ts'
import { createLeases } from '../../../lib/registry/leases.ts'
import { pump, startDevices } from '../../support/devices.ts'
import { describeRegistry } from '../../support/registry.ts'

describeRegistry('a change of many configurations', (place) => {
  it('is applied also when it is made while an earlier one is published', async () => {
    const { connect } = await startDevices(place)
    const { devices, registry } = await connect()
    const { device } = await devices.register(pump)
    const { db } = registry
    let second: Promise<{ id: number }> | undefined
    const publisher = {
      hasBroker: true,
      unpublished: async () => [device.id],
      async publishMany() {
        second ??= fleet.create({}, {}, changesOf({ b: 2 }))
        await second
        return 1
      },
    } as unknown as ConfigurationPublisher
    const fleet = new FleetConfigurations({
      db,
      leases: createLeases({ db, holder: 'one' }),
      publisher,
      log: createLog('silent'),
      longRunning: true,
    })
    await fleet.create({}, {}, changesOf({ a: 1 }))
    await expect.poll(async () => (await fleet.list()).map(({ waiting }) => waiting)).toEqual([0, 0])
    await fleet.close()
  })
})
