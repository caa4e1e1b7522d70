/** Commands of two devices on a registry of their own, with a broker that records what is published. */

import { onTestFinished } from 'vitest'
import type { BrokerKind } from '../../../lib/broker/address.ts'
import type { OutgoingMessage, Published } from '../../../lib/broker/messenger.ts'
import { type CommandsOptions, createCommands } from '../../../lib/commands/command-service.ts'
import { createLog } from '../../../lib/log.ts'
import { defaultTopics } from '../../../lib/mqtt/topics.ts'
import { pump, startDevices } from '../../support/devices.ts'
import type { Place } from '../../support/registry.ts'

export interface TestBroker {
  /** What it tells of the next messages; an error: it takes none. */
  tells: Published | Error
  readonly published: OutgoingMessage[]
  /** Runs before a message is taken. */
  onPublish: () => unknown
  /** Ids of the published commands, and forgets them. */
  takeIds(): string[]
}

export const reachedSession = (...sessions: string[]): Published => ({
  reached: true,
  sessions,
  isConfirmed: true,
})
export const nobody: Published = { reached: false, sessions: [], isConfirmed: false }
/** AWS IoT Core. */
export const untold: Published = { reached: undefined, sessions: [], isConfirmed: false }

export async function startCommands(place: () => Promise<Place>, kind: BrokerKind = 'embedded') {
  const { clock, connect } = await startDevices(place)
  const { devices, registry } = await connect()
  const { device } = await devices.register(pump)
  const { device: other } = await devices.register({ ...pump, name: 'valve' })
  const broker: TestBroker = {
    tells: nobody,
    published: [],
    onPublish: () => {},
    takeIds: () =>
      broker.published
        .splice(0)
        .map(({ payload }) => (JSON.parse(payload) as { command_id: string }).command_id),
  }
  const options: CommandsOptions = {
    db: registry.db,
    kind,
    log: createLog('silent'),
    topics: defaultTopics,
    now: () => clock.now,
    perSecond: Number.POSITIVE_INFINITY,
    messenger: {
      async publish(message) {
        await broker.onPublish()
        if (broker.tells instanceof Error) throw broker.tells
        broker.published.push(message)
        return broker.tells
      },
    },
  }
  /** One more process on the registry. */
  const open = () => {
    const commands = createCommands(options)
    onTestFinished(() => commands.close())
    return commands
  }
  return { clock, devices, registry, broker, id: device.id, other: other.id, commands: open(), open }
}
