/** Changes of the desired configuration: written with a new version, then published to the device. */
import { sql } from 'drizzle-orm'
import { AppError } from '../errors.ts'
import type { RegistryDb } from '../registry/db.ts'
import { configuredDevices, createConfigurationStore, writeNextVersion } from './configuration-store.ts'
import { applyChanges, type Configurations } from './configurations.ts'
import type { ConfigurationPublisher } from './publisher.ts'

/** Attempts of a change while other changes come first. */
const maxAttempts = 20
/** Messages to the broker at the same time. */
const publishedAtOnce = 16

const mustExist = async (db: RegistryDb, deviceId: number): Promise<void> => {
  const [device] = await db.all<{ id: number }>(sql`select id from devices where id = ${deviceId}`)
  if (device === undefined) throw new AppError('NOT_FOUND', 'There is no such device.')
}

export function createConfigurations(options: {
  db: RegistryDb
  publisher: ConfigurationPublisher
  /** Milliseconds since the epoch. */
  now?: () => number
}): Configurations {
  const { db, publisher, now = Date.now } = options
  const { read } = createConfigurationStore({ db })
  return {
    async change(deviceId, changes, { by, ifVersion }) {
      for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
        const before = await read(deviceId)
        if (ifVersion !== undefined && ifVersion !== before.version)
          throw new AppError('PRECONDITION_FAILED', `The configuration has version ${before.version} by now.`)
        const at = now()
        const version = before.version + 1
        const entries = applyChanges(before, changes, at)
        const detail = { by, version, keys: Object.keys(changes) }
        if (await writeNextVersion(db, { deviceId, replaces: before.version, entries, detail, at }))
          return { ...before, version, entries, published: await publisher.publish(deviceId) }
        await mustExist(db, deviceId)
      }
      throw new AppError('UNAVAILABLE', 'The configuration is being changed by others: try again.', {
        retryAfterS: 1,
      })
    },

    async republish() {
      const deviceIds = await configuredDevices(db)
      for (let from = 0; from < deviceIds.length; from += publishedAtOnce)
        await publisher.publishMany(deviceIds.slice(from, from + publishedAtOnce))
      return deviceIds.length
    },

    clear: (deviceId) => publisher.clear(deviceId),
  }
}
