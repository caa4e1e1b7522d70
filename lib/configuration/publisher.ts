/** Publishes configurations to their devices, as retained messages. */
import { sql } from 'drizzle-orm'
import type { Messenger } from '../broker/messenger.ts'
import type { Log } from '../log.ts'
import type { TopicTree } from '../mqtt/topics.ts'
import type { RegistryDb } from '../registry/db.ts'
import { type Configuration, documentOf } from './configurations.ts'

export interface PublisherOptions {
  readonly db: RegistryDb
  readonly read: (deviceId: number) => Promise<Configuration>
  /** Undefined when there is no broker. */
  readonly messenger: Pick<Messenger, 'publish'> | undefined
  readonly topics: TopicTree
  readonly log: Log
}

export class ConfigurationPublisher {
  readonly #options: PublisherOptions

  constructor(options: PublisherOptions) {
    this.#options = options
  }

  get hasBroker(): boolean {
    return this.#options.messenger !== undefined
  }

  /** Publishes the newest configuration of a device. @returns false when the broker has not accepted it, or there is none. */
  async publish(deviceId: number): Promise<boolean> {
    return (await this.publishMany([deviceId])) === 1
  }

  /** Publishes the newest configurations of devices. @returns how many the broker has accepted. */
  async publishMany(deviceIds: readonly number[]): Promise<number> {
    const versions = await Promise.all(deviceIds.map((id) => this.#publish(id)))
    const published = deviceIds.flatMap((id, at) => (versions[at] === undefined ? [] : [[id, versions[at]]]))
    if (published.length > 0)
      await this.#options.db.run(sql`update configurations set published_version = r.value ->> 1
        from json_each(${JSON.stringify(published)}) r where device_id = r.value ->> 0`)
    return published.length
  }

  /** Devices whose newest configuration the broker has not accepted yet; none when there is no broker. */
  async unpublished(limit: number): Promise<number[]> {
    if (!this.hasBroker) return []
    const rows = await this.#options.db.all<{ id: number }>(sql`select device_id as id from configurations
      where published_version < version order by device_id limit ${limit}`)
    return rows.map(({ id }) => id)
  }

  /** Deletes the retained configuration and status messages of a device at the broker. */
  async clear(deviceId: number): Promise<void> {
    const { configSubscribe, statusPublish, statusOnline, statusOffline, statusHeartbeat } =
      this.#options.topics.of(deviceId)
    for (const topic of [configSubscribe, statusPublish, statusOnline, statusOffline, statusHeartbeat])
      await this.#options.messenger?.publish({ topic, payload: '', retain: true })
  }

  /** @returns the version that the broker has now; undefined when it has not accepted it, or there is no broker. */
  async #publish(deviceId: number): Promise<number | undefined> {
    const { read, messenger, topics, log } = this.#options
    if (messenger === undefined) return undefined
    const topic = topics.of(deviceId).configSubscribe
    try {
      // Publishes again after a change meanwhile: else this older message could reach the broker last.
      for (let published = 0; ; ) {
        const { version, entries } = await read(deviceId)
        if (version === 0 || version === published) return version
        await messenger.publish({ topic, payload: documentOf(version, entries), retain: true })
        published = version
      }
    } catch (error) {
      log.warn('configuration could not be published', { device_id: deviceId, error })
      return undefined
    }
  }
}
