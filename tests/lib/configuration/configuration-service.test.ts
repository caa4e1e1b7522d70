import { expect, it } from 'vitest'
import type { Messenger } from '../../../lib/broker/messenger.ts'
import { createConfigurations } from '../../../lib/configuration/configuration-service.ts'
import { createConfigurationStore } from '../../../lib/configuration/configuration-store.ts'
import { ConfigurationPublisher } from '../../../lib/configuration/publisher.ts'
import { createLog } from '../../../lib/log.ts'
import { defaultTopics } from '../../../lib/mqtt/topics.ts'
import { noon, pump, startDevices } from '../../support/devices.ts'
import { describeRegistry } from '../../support/registry.ts'

type Published = Parameters<Messenger['publish']>[0]

const integer = (value: number) => ({ value, dataType: 'integer' }) as const

describeRegistry('the desired configuration', (place) => {
  /** A device with a broker that records each message. `onPublish` runs before the broker accepts it. */
  const start = async (onPublish: () => Promise<void> | void = () => {}) => {
    const { clock, connect } = await startDevices(place)
    const { devices, registry } = await connect()
    const { device } = await devices.register(pump)
    const published: Published[] = []
    const messenger = {
      async publish(message: Published) {
        await onPublish()
        published.push(message)
        return { reached: true, sessions: [], isConfirmed: false }
      },
    } as Pick<Messenger, 'publish'> as Messenger
    const { db } = registry
    const store = createConfigurationStore({ db })
    const serviceOf = (to: Messenger | undefined) =>
      createConfigurations({
        db,
        publisher: new ConfigurationPublisher({
          topics: defaultTopics,
          db,
          read: store.read,
          messenger: to,
          log: createLog('silent'),
        }),
        now: () => clock.now,
      })
    const [configurations, withoutBroker] = [serviceOf(messenger), serviceOf(undefined)]
    return { id: device.id, devices, published, configurations, withoutBroker, store }
  }

  it('is published retained with each change, and its version rises by one', async () => {
    const { id, published, configurations, store } = await start()
    expect(await store.read(id)).toEqual({ version: 0, entries: {}, reportedVersion: null, reportedAt: null })
    expect(await configurations.change(id, { a: integer(1) }, { by: 'device' })).toMatchObject({
      version: 1,
      published: true,
    })
    const { published: _, ...second } = await configurations.change(id, { b: integer(2) }, { by: 'admin' })
    expect(await store.read(id)).toEqual(second)
    const topic = `iotflow/devices/${id}/config`
    expect(published).toEqual([
      { topic, payload: '{"version":1,"configuration":{"a":1}}', retain: true },
      { topic, payload: '{"version":2,"configuration":{"a":1,"b":2}}', retain: true },
    ])
  })

  it('is never lost to another one that If-Match did not know: of 50 writers each raises the version once', async () => {
    const { id, configurations, store } = await start()
    const written: number[] = []
    const write = async (writer: number) => {
      for (;;) {
        const { version, entries } = await store.read(id)
        const sum = Number(entries.sum?.value ?? 0)
        try {
          const changes = { sum: integer(sum + writer), [`writer${writer}`]: integer(version + 1) }
          const changed = await configurations.change(id, changes, { by: 'admin', ifVersion: version })
          written.push(changed.version)
          return
        } catch (error) {
          expect(error).toMatchObject({ code: 'PRECONDITION_FAILED' })
        }
      }
    }
    await Promise.all(Array.from({ length: 50 }, (_, at) => write(at + 1)))
    const { version, entries } = await store.read(id)
    expect(version).toBe(50)
    expect(written.toSorted((one, other) => one - other)).toEqual(
      Array.from({ length: 50 }, (_, at) => at + 1),
    )
    expect(entries.sum?.value).toBe((50 * 51) / 2)
    const versions = Array.from({ length: 50 }, (_, at) => entries[`writer${at + 1}`]?.value)
    expect(new Set(versions).size).toBe(50)
  })

  it('gets every one of the changes that are made at the same time, with an event for each', async () => {
    const { id, devices, configurations, store } = await start()
    await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        configurations.change(id, { [`key${i}`]: integer(i) }, { by: 'admin' }),
      ),
    )
    const { version, entries } = await store.read(id)
    expect(version).toBe(8)
    expect(Object.keys(entries).sort()).toEqual(Array.from({ length: 8 }, (_, i) => `key${i}`))
    const events = await devices.events(id, { limit: 20 })
    const versions = events
      .filter(({ kind }) => kind === 'configuration')
      .map(({ detail }) => detail?.version)
    expect(versions).toEqual([8, 7, 6, 5, 4, 3, 2, 1])
  })

  it('is changed only from the version that the caller names', async () => {
    const { id, configurations } = await start()
    await configurations.change(id, { a: integer(1) }, { by: 'admin', ifVersion: 0 })
    await expect(
      configurations.change(id, { a: integer(2) }, { by: 'admin', ifVersion: 0 }),
    ).rejects.toMatchObject({ code: 'PRECONDITION_FAILED' })
    await expect(configurations.change(999_999, { a: integer(1) }, { by: 'admin' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    })
  })

  it('is stored when the broker does not accept it, and published later', async () => {
    const state = { down: true }
    const { id, published, configurations, withoutBroker } = await start(() => {
      if (state.down) throw new Error('no broker')
    })
    expect(await configurations.change(id, { a: integer(1) }, { by: 'admin' })).toMatchObject({
      version: 1,
      published: false,
    })
    expect(await withoutBroker.change(id, { a: integer(2) }, { by: 'admin' })).toMatchObject({
      version: 2,
      published: false,
    })
    state.down = false
    expect(await configurations.republish()).toBe(1)
    expect(published.map(({ payload }) => payload)).toEqual(['{"version":2,"configuration":{"a":2}}'])
  })

  it('is published again when it changed during the publish', async () => {
    const changes: (() => Promise<unknown>)[] = []
    const { id, published, configurations, withoutBroker } = await start(
      async () => void (await changes.pop()?.()),
    )
    changes.push(() => withoutBroker.change(id, { a: integer(2) }, { by: 'device' }))
    await configurations.change(id, { a: integer(1) }, { by: 'admin' })
    expect(published.map(({ payload }) => payload)).toEqual([
      '{"version":1,"configuration":{"a":1}}',
      '{"version":2,"configuration":{"a":2}}',
    ])
  })

  it('is cleared at the broker together with the retained status of the device', async () => {
    const { id, published, configurations, withoutBroker } = await start()
    await configurations.clear(id)
    await withoutBroker.clear(id)
    expect(published.map(({ topic }) => topic).sort()).toEqual(
      ['config', 'status', 'status/heartbeat', 'status/offline', 'status/online'].map(
        (end) => `iotflow/devices/${id}/${end}`,
      ),
    )
    expect(published.every(({ payload, retain }) => payload === '' && retain)).toBe(true)
  })

  it('has the newest version that the device reports, and no version that never was', async () => {
    const { id, devices, configurations, store } = await start()
    for (const n of [1, 2]) await configurations.change(id, { a: integer(n) }, { by: 'admin' })
    const reported = async () => {
      const { reportedVersion, reportedAt } = await store.read(id)
      return [reportedVersion, reportedAt === null ? null : reportedAt - noon]
    }
    await store.report(id, 3, noon)
    await store.report(id, -1, noon)
    expect(await reported()).toEqual([null, null])
    await store.report(id, 2, noon + 20)
    await store.report(id, 1, noon + 10)
    expect(await reported()).toEqual([2, 20])
    await store.report(id, 1, noon + 30)
    expect(await reported()).toEqual([1, 30])
    const events = await devices.events(id, { limit: 20 })
    expect(
      events.filter(({ kind }) => kind === 'configuration_reported').map(({ detail }) => detail),
    ).toEqual([{ version: 1 }, { version: 2 }])
  })
})
