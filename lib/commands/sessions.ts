/** Ends what a device has open at the broker, for the moment it loses a right. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Log } from '../log.ts'
import type { Messenger } from './messenger.ts'

export interface Sessions {
  /**
   * Connections that were ended, and with them every session the device left; null when the broker could not be reached
   * for one of them.
   * @param clientId one that is not known yet.
   */
  end(deviceId: number, clientId?: string): Promise<number | null>
}

export function createSessions(options: {
  /** Client ids a device has used, and whether they may be connected: one that is away may have a session. */
  clients: (deviceId: number) => Promise<ReadonlyMap<string, boolean>>
  /** Undefined where there is no broker. */
  messenger: Messenger | undefined
  log: Log
}): Sessions {
  const { clients, messenger, log } = options
  return {
    async end(deviceId, clientId) {
      if (messenger === undefined) return 0
      // A broker that tells nothing of its clients has them under the id of the device.
      const known = new Map([[String(deviceId), false], ...(await clients(deviceId))])
      if (clientId !== undefined) known.set(clientId, true)
      const disconnect = async (id: string) => {
        for (const waitMs of [100, 500])
          try {
            return await messenger.disconnect(id)
          } catch {
            await pause(waitMs)
          }
        return messenger.disconnect(id)
      }
      const ended = await Promise.allSettled([...known.keys()].map(disconnect))
      const failed = ended.find((result) => result.status === 'rejected')
      if (failed === undefined) return [...known.values()].filter((open) => open).length
      log.error('mqtt sessions could not be ended', { device_id: deviceId, error: failed.reason })
      return null
    },
  }
}
